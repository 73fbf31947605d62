import Support

typealias Program = Signal

/// Signals, after lmbench's lat_sig: installing a handler, a signal to oneself, and a fault that the handler repairs.
struct Signal: Workload {
    static var name: StaticString { "signal" }
    static var summary: StaticString { "install a handler; a signal to oneself; a fault that the handler steps over" }
    static var operation: StaticString { "signal" }
    static var options: StaticString {
        "  --operations M  signals a round, of each phase: install, raise, fault (default 1000)\n"
    }

    private let signals: UInt64
    private let forbidden: UnsafeMutableRawPointer
    private let process: Int64
    private var handlers = Checksum()

    init(_ arguments: inout Arguments) {
        signals = arguments.number("--operations", default: 1000, in: 1...100_000_000)
        process = vb_syscall0(Int64(SYS_getpid))
        // Whoever started this program may have left signals blocked.
        var none: UInt64 = 0
        _ = withUnsafeMutablePointer(to: &none) {
            vb_syscall4(Int64(SYS_rt_sigprocmask), Int64(SIG_SETMASK), Int64(Int(bitPattern: $0)), 0, 8)
        }
        let page = mmap(nil, Memory.pageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let page, Int(bitPattern: page) != -1 else { systemError("mmap", Int64(vb_errno())) }
        forbidden = page
        Self.install(SIGUSR1) { signal, information, _ in
            handled &+= UInt64(UInt32(bitPattern: signal))
            if let information, information.pointee.si_signo == signal { confirmed &+= 1 }
        }
        Self.install(SIGSEGV) { signal, information, context in
            handled &+= UInt64(UInt32(bitPattern: signal))
            guard let information, let context else { return }
            let isExpected = information.pointee._sifields._sigfault.si_addr == faultAddress
            // SEGV_ACCERR: the page is there, the right is not.
            if isExpected, information.pointee.si_code == 2 { confirmed &+= 1 }
            // RIP: behind the instruction of `vb_faulting_load`.
            context.assumingMemoryBound(to: ucontext_t.self).pointee.uc_mcontext.gregs.16 += 2
        }
    }

    var phases: Int { 3 }

    func appendName(ofPhase phase: Int, to text: inout Text) {
        switch phase {
        case 0: text.append("install")
        case 1: text.append("raise")
        default: text.append("fault")
        }
    }

    mutating func prepare(phase: Int) {
        handled = 0
        confirmed = 0
        faultAddress = forbidden
        // What the first `install` of the round finds.
        _ = replaceHandler(with: Self.handler(signals))
    }

    mutating func run(phase: Int) -> UInt64 {
        switch phase {
        case 0:
            var sum = Checksum()
            for number in 0..<signals { sum.mix(replaceHandler(with: Self.handler(number))) }
            handlers = sum
        case 1:
            for _ in 0..<signals { _ = vb_syscall3(Int64(SYS_kill), process, Int64(SIGUSR1), 0) }
        default:
            for _ in 0..<signals { vb_faulting_load(forbidden) }
        }
        return signals
    }

    mutating func outcome(phase: Int) -> Outcome {
        if phase == 0 {
            var expected = Checksum()
            expected.mix(Self.handler(signals))
            for number in 0..<signals - 1 { expected.mix(Self.handler(number)) }
            return Outcome(got: handlers.value, expected: expected.value)
        }
        let signal = phase == 1 ? SIGUSR1 : SIGSEGV
        return Outcome(
            got: handled &* 0x1_0000_0001 &+ confirmed,
            expected: signals &* UInt64(UInt32(bitPattern: signal)) &* 0x1_0000_0001 &+ signals)
    }

    /// Addresses of handlers that never run, as no one sends SIGUSR2.
    private static func handler(_ number: UInt64) -> UInt64 { 0x10000 &+ (number & 0xFFF) &* 16 }

    /// rt_sigaction(2) for SIGUSR2; the handler of before. The kernel's structure: handler, flags, restorer, mask.
    @inline(__always)
    private func replaceHandler(with handler: UInt64) -> UInt64 {
        var new: (UInt64, UInt64, UInt64, UInt64) = (handler, 0, 0, 0)
        var old: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        let result = withUnsafeMutablePointer(to: &new) { new in
            withUnsafeMutablePointer(to: &old) { old in
                vb_syscall4(
                    Int64(SYS_rt_sigaction), Int64(SIGUSR2), Int64(Int(bitPattern: new)), Int64(Int(bitPattern: old)), 8
                )
            }
        }
        return result == 0 ? old.0 : .max
    }

    private static func install(
        _ signal: Int32,
        _ handler: @convention(c) (Int32, UnsafeMutablePointer<siginfo_t>?, UnsafeMutableRawPointer?) -> Void
    ) {
        var action = sigaction()
        action.__sigaction_handler.sa_sigaction = handler
        action.sa_flags = SA_SIGINFO
        if sigaction(signal, &action, nil) != 0 { systemError("sigaction", Int64(vb_errno())) }
    }
}

// What the handlers leave: sum of the numbers of the signals, signals whose description was right; and what to expect.
nonisolated(unsafe) private var handled: UInt64 = 0
nonisolated(unsafe) private var confirmed: UInt64 = 0
nonisolated(unsafe) private var faultAddress: UnsafeMutableRawPointer?
