import CLinux
import Glibc
import GuestInterface
import Host
import Machine
import Translator

/// The software VMM: guest ring 3 runs directly on the CPU, guest ring 0 is translated, guest page tables are shadowed by host
/// mappings. Needs neither /dev/kvm nor privileges.
///
/// One a process at a time, and `run` on one thread: it takes the process's fault handlers and the address ranges of
/// `AddressMap`. Exits are timed from `vb_sw_enter`'s return to its next call: the VMM's own work, without the CPU's and the
/// host kernel's part in getting there (signal delivery for traps).
public final class SoftwareMachine {
    let map = AddressMap()
    let memory: GuestMemory
    let cpu: VirtualCPU
    let shadow: ShadowMMU
    let cache: CodeCache
    let linear: GuestLinearMemory
    let fetch: InstructionFetch
    let translator: Translator
    /// Makes blocks of one instruction, for code that writes to its own page.
    let stepper: Translator
    private let configuration: MachineConfiguration
    let tscHertz: UInt64
    let ledger = ExitLedger()
    private let history = ExitHistory()
    /// Valid while `run` runs.
    private(set) var ports: PortBus! = nil

    // What a handler leaves behind for the run loop.
    var exitReason = ExitReason.other
    var pendingStop: MachineStop?
    var halted = false
    private static let shortestShadowWait: UInt64 = 2_000
    /// How long an interrupt that STI has let in waits for the instruction behind STI.
    private var shadowWaitNanoseconds = SoftwareMachine.shortestShadowWait
    var timerChanged = false
    /// The interrupted host instruction goes on; `cpu.rip` is not known.
    var resumesTranslation = false
    /// Ring-3 page fault given to the guest, until its handler returns.
    var faultedUserAddress: UInt64?
    var repeatedHost: UInt64 = 0
    var repeatedAddress: UInt64 = 0
    var repetitions = 0
    var interruptsDelivered: UInt64 = 0

    /// The instruction at RIP writes to a page of translated code, maybe its own: it runs in a block of one instruction, its page
    /// open to writes, and every translation goes when it is done.
    var stepsOverCodeWrite = false
    /// TSC when the guest was last left, plus what has been charged elsewhere since.
    var exitTSC: UInt64 = 0
    /// Pages that blocks were translated from: guest page, memfd offset, and whether the translation is global.
    var codePages: [UInt64: (offset: UInt64, global: Bool)] = [:]
    var haltedTicks: UInt64 = 0
    var armedDeadline: UInt64 = 0
    var limitTSC: UInt64 = .max
    private let cpuidFaults: Bool

    /// Options of the software VMM.
    public struct Options: Sendable {
        /// Bytes of host code kept before everything is dropped: at least 64 KiB.
        public var codeCacheBytes = 32 << 20
        public init() {}
    }

    /// Sets the machine up and boots nothing yet. Throws what `BootLoader` and the host refuse.
    public init(configuration: MachineConfiguration, options: Options = Options())
        throws(MachineError)
    {
        guard options.codeCacheBytes >= 64 << 10, options.codeCacheBytes <= 1 << 30 else {
            throw .invalidConfiguration(
                "a code cache of \(options.codeCacheBytes) bytes: it takes 64 KiB to 1 GiB")
        }
        if case .unavailable(let reason, let remedy) = Self.support() {
            throw .unavailable(reason: reason, remedy: remedy)
        }
        self.configuration = configuration
        tscHertz = TimestampCounter.hertz
        memory = try GuestMemory(bytes: configuration.memoryBytes, numaNode: configuration.numaNode)
        let boot = try BootLoader.load(
            configuration, into: memory, tscHertz: tscHertz, apicTimerHertz: LocalAPIC.inputHertz,
            quirks: 0)
        cpu = try VirtualCPU(boot: boot, tscHertz: tscHertz)
        shadow = ShadowMMU(memory: memory, map: map)
        linear = GuestLinearMemory(memory: memory)
        fetch = InstructionFetch(memory: memory, linear: linear)
        let state = cpu.state
        state.pointee.vmm_begin = map.vmmBegin
        vb_sw_prepare(state)
        cache = try CodeCache(capacity: options.codeCacheBytes, vcpu: state)
        translator = Translator(layout: Self.layout, options: TranslationOptions(windowBase: map.window))
        stepper = Translator(
            layout: Self.layout, options: TranslationOptions(windowBase: map.window, instructionLimit: 1))
        cpuidFaults = vb_sw_fault_cpuid(1) == 0
        if cpuidFaults { _ = vb_sw_fault_cpuid(0) }
    }

    private static let layout = VCPULayout(
        instructionPointer: VB_SW_RIP, branchTarget: VB_SW_TARGET, spillSlots: VB_SW_SPILL,
        exitKind: VB_SW_EXIT_KIND,
        exitIdentifier: VB_SW_EXIT_ID, exitStub: VB_SW_EXIT_STUB, missStub: VB_SW_MISS_STUB,
        guestFSBase: VB_SW_GUEST_FS,
        guestGSBase: VB_SW_GUEST_GS, virtualInterruptFlag: VB_SW_VIF, indirectTable: VB_SW_TABLE,
        chainExit: VB_SW_EXIT_CHAIN, emulateExit: VB_SW_EXIT_EMULATE)

    /// Whether this host can run it.
    public enum Support: Sendable, Equatable {
        case supported
        case unavailable(reason: String, remedy: String)
    }

    /// Looks for what the software VMM builds on. Changes nothing.
    public static func support() -> Support {
        guard clinux_probe_fsgsbase() == 0 else {
            return .unavailable(
                reason: "the kernel does not let programs use FSGSBASE instructions",
                remedy: "run on a CPU with FSGSBASE (2012 or later) and Linux 5.9 or later")
        }
        guard clinux_probe_syscall_user_dispatch() == 0 else {
            return .unavailable(
                reason: "the kernel has no Syscall User Dispatch",
                remedy: "run on Linux 5.11 or later, x86-64")
        }
        return .supported
    }

    // MARK: Running

    /// Runs the guest to the end of its machine. Call once. The calling thread becomes the vCPU's until it returns.
    ///
    /// - Parameter beforeEntry: called when everything is set up and before the guest's first instruction: the place to
    ///   jail this process (`Jail.software`). Its error ends the machine as `hostFailure`.
    public func run(
        observer: any MachineObserver, beforeEntry: (SoftwareMachine) throws -> Void = { _ in }
    ) -> MachineOutcome {
        let start = TimestampCounter.now()
        let end: MachineEnd
        do throws(MachineStop) {
            do throws(MachineError) { ports = try PortBus(memory: memory, observer: observer) } catch {
                throw MachineStop(.hostFailure(error.description))
            }
            guard configuration.timeLimit > 0 else { throw MachineStop(.timeout) }
            limitTSC = start &+ UInt64(min(configuration.timeLimit, 1e9) * Double(tscHertz))
            let stack = try takeThread()
            defer { releaseThread(stack) }
            do { try beforeEntry(self) } catch { throw MachineStop(.hostFailure("\(error)")) }
            try loop()
        } catch {
            end = error.end
            // The exit that ended it has not been followed by an entry.
            if exitTSC > 0 { ledger.record(exitReason, cycles: TimestampCounter.now() &- exitTSC) }
            return finish(end, start)
        }
    }

    private static let signalStackBytes = 128 << 10

    /// Installs the fault handlers, their stack (returned) and the diversion of guest system calls.
    private func takeThread() throws(MachineStop) -> UnsafeMutableRawPointer {
        guard
            let stack = mmap(
                nil, Self.signalStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            stack != MAP_FAILED
        else { throw MachineStop(.hostFailure("mmap of the signal stack: \(String(cString: strerror(errno)))")) }
        let installed = vb_sw_install(cpu.state, stack, Self.signalStackBytes)
        let begin = map.vmmBegin
        guard installed == 0, vb_sw_dispatch_user_calls(begin, map.vmmEnd - begin) == 0 else {
            vb_sw_uninstall()
            munmap(stack, Self.signalStackBytes)
            let reason = installed == 0 ? "Syscall User Dispatch was refused" : String(cString: strerror(installed))
            throw MachineStop(.hostFailure("the software VMM's fault handlers: \(reason)"))
        }
        if cpuidFaults { _ = vb_sw_fault_cpuid(1) }
        return stack
    }

    private func releaseThread(_ stack: UnsafeMutableRawPointer) {
        vb_sw_arm_kick(0)
        if cpuidFaults { _ = vb_sw_fault_cpuid(0) }
        _ = vb_sw_release_user_calls()
        vb_sw_uninstall()
        munmap(stack, Self.signalStackBytes)
        shadow.dropAll()
    }

    private func loop() throws(MachineStop) -> Never {
        armKick()
        exitTSC = TimestampCounter.now()
        exitReason = .dispatch
        while true {
            try prepareEntry()
            let entryTSC = TimestampCounter.now()
            ledger.record(exitReason, cycles: entryTSC &- exitTSC)
            history.record(exitReason, rip: cpu.rip)
            let kind = vb_sw_enter(cpu.state)
            exitTSC = TimestampCounter.now()
            exitReason = .other
            if cpu.privilege == 3 { takeUserState() }
            let shadowed = cpu.interruptShadow
            cpu.interruptShadow = false
            switch Int32(truncatingIfNeeded: kind) {
            case VB_SW_EXIT_CHAIN: try chain()
            case VB_SW_EXIT_INDIRECT: try indirect()
            case VB_SW_EXIT_EMULATE:
                cpu.rip = cpu.state.pointee.rip
                do throws(GuestException) { try emulateRing0() } catch { try deliver(error) }
            case VB_SW_EXIT_TRAP: try handleTrap()
            case VB_SW_EXIT_KICK:
                exitReason = .externalInterrupt
                if cpu.privilege == 0 {
                    let before = cpu.rip
                    recoverGuestState(cpu.state.pointee.resume)
                    // Refused before the instruction behind STI ran: the shadow stays.
                    cpu.interruptShadow = shadowed && cpu.rip == before
                }
            default: throw MachineStop(.hostFailure("unknown exit \(kind)"))
            }
            try afterExit()
        }
    }

    /// Ring 3 can change more of its state than ring 0: bases by WRFSBASE, flags by POPF.
    private func takeUserState() {
        cpu.rip = cpu.state.pointee.resume
        cpu.keepUserFlags()
        let kind = Int32(truncatingIfNeeded: cpu.state.pointee.exit_kind)
        if kind == VB_SW_EXIT_TRAP || (kind == VB_SW_EXIT_KICK && cpu.state.pointee.trap_fresh != 0) {
            cpu.state.pointee.guest_fs_base = cpu.state.pointee.trap_fs_base
            cpu.state.pointee.guest_gs_base = cpu.state.pointee.trap_gs_base
        }
    }

    /// What may be due after any exit: a stop, the time limit, the timer, a halt, an interrupt.
    private func afterExit() throws(MachineStop) {
        if let stop = pendingStop { throw stop }
        if stepsOverCodeWrite, !resumesTranslation, exitReason != .tracedWrite {
            stepsOverCodeWrite = false
            dropCode()
        }
        if cpu.state.pointee.kick != 0 {
            cpu.state.pointee.kick = 0
            let now = TimestampCounter.now()
            guard now < limitTSC else { throw MachineStop(.timeout) }
            cpu.apic.poll(now: now)
            armedDeadline = 0
            timerChanged = true
        }
        if halted { try waitForInterrupt() }
        if !resumesTranslation { try deliverPendingInterrupt() }
        if timerChanged { armKick() }
        // An interrupt that STI has let in waits one instruction: come back soon. On a busy host entering the guest may
        // take longer than the wait, and the kick comes too early again: each refusal doubles the wait.
        if cpu.interruptShadow, cpu.apic.deliverable != nil {
            vb_sw_arm_kick(monotonic() + shadowWaitNanoseconds)
            shadowWaitNanoseconds = min(2 * shadowWaitNanoseconds, 10_000_000)
        } else {
            shadowWaitNanoseconds = Self.shortestShadowWait
        }
    }

    /// Where the guest goes on, and with which thread state.
    private func prepareEntry() throws(MachineStop) {
        let state = cpu.state
        if resumesTranslation {
            resumesTranslation = false
            state.pointee.rflags = state.pointee.rflags & Flags.live | Flags.always | Flags.interrupt
            return
        }
        if cpu.singleStepping { throw .unsupported("single-stepping (RFLAGS.TF)") }
        if cpu.privilege == 3 {
            while !map.isUser(cpu.rip) {
                // No code there: the fetch faults, as it would on the CPU.
                exitReason = .exception
                if AddressMap.isCanonical(cpu.rip) {
                    try handleUserPageFault(cpu.rip, Access(execute: true, user: true))
                } else {
                    try deliver(.protection)
                }
                guard cpu.privilege == 3 else { break }
            }
        }
        if cpu.privilege == 3 {
            cpu.prepareFlags()
            state.pointee.enter_fs = state.pointee.guest_fs_base
            state.pointee.enter_gs = state.pointee.guest_gs_base
            state.pointee.resume = cpu.rip
            return
        }
        state.pointee.enter_fs = map.window
        state.pointee.enter_gs = state.pointee.`self`
        state.pointee.resume = cache.directEntry(try blockForCurrentRIP())
        cpu.prepareFlags()
    }

    // MARK: The end

    private func finish(_ end: MachineEnd, _ start: UInt64) -> MachineOutcome {
        let stop = TimestampCounter.now()
        ports?.finish()
        var outcome = MachineOutcome(end: end, startTSC: start, endTSC: stop, tscHertz: tscHertz)
        outcome.exits = ledger.summaries()
        outcome.counters = [
            "software.translatedBlocks": Double(cache.translatedBlocks),
            "software.translatedInstructions": Double(cache.translatedInstructions),
            "software.codeCacheFlushes": Double(cache.flushes),
            "software.shadowFills": Double(shadow.fills),
            "software.shadowDrops": Double(shadow.drops),
            "software.hostMapCalls": Double(shadow.mapCalls),
            "software.interruptsDelivered": Double(interruptsDelivered),
            "software.haltedNanoseconds": Double(haltedTicks) * 1e9 / Double(tscHertz),
            "software.cpuidFaulting": cpuidFaults ? 1 : 0,
        ]
        if case .debugExit = end { return outcome }
        outcome.diagnosis = diagnose()
        return outcome
    }

    private func diagnose() -> [String] {
        var lines = registerLines()
        lines.append("at \(configuration.kernel.describe(cpu.rip)), ring \(cpu.privilege)")
        let user = cpu.privilege == 3
        if let bytes = try? fetch.instruction(cpu.rip, user: user, cpu.pagingMode) {
            lines.append("  " + disassemble(bytes, at: cpu.rip))
        }
        lines.append("last exits, newest first:")
        lines += history.lines { self.configuration.kernel.describe($0) }
        return lines
    }
}

func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
