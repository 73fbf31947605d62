import CPU

let SIGILL: Int32 = 4
let SIGTRAP: Int32 = 5
let SIGABRT: Int32 = 6
let SIGBUS: Int32 = 7
let SIGFPE: Int32 = 8
let SIGKILL: Int32 = 9
let SIGSEGV: Int32 = 11
let SIGPIPE: Int32 = 13
let SIGALRM: Int32 = 14
let SIGCHLD: Int32 = 17
let SIGCONT: Int32 = 18
let SIGSTOP: Int32 = 19
let SIGTTOU: Int32 = 22
let SIGURG: Int32 = 23
let SIGWINCH: Int32 = 28

/// What an interrupted call returns inside the kernel when it may be restarted (include/linux/errno.h).
let ERESTARTSYS = 512

/// struct kernel_sigaction of the x86-64 ABI.
struct SignalAction {
    var handler: UInt64 = 0
    var flags: UInt64 = 0
    var restorer: UInt64 = 0
    var mask: UInt64 = 0

    static let count = 64
    /// The actions, then the SignalInformation of each signal that is pending.
    static let tableBytes = count * (32 + 16)
    static let defaultHandler: UInt64 = 0
    static let ignoreHandler: UInt64 = 1
    static let noChildWait: UInt64 = 2
    static let restart: UInt64 = 0x1000_0000
    static let onStack: UInt64 = 0x0800_0000
    static let noDefer: UInt64 = 0x4000_0000
    static let resetHandler: UInt64 = 0x8000_0000
}

/// Sending signals and acting on them. Numbers are 1…64; bit n − 1 of a set is signal n.
enum Signals {
    private static let unblockable: UInt64 = 1 << 8 | 1 << 18
    /// Default action "ignore": SIGCHLD, SIGCONT, SIGURG, SIGWINCH; and, as there is no job control, the stop signals.
    private static let ignoredByDefault: UInt64 =
        1 << 16 | 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20 | 1 << 21 | 1 << 22 | 1 << 27

    @inline(__always)
    static func bit(_ signal: Int32) -> UInt64 { 1 << UInt64(truncatingIfNeeded: signal &- 1) }

    static func action(_ process: ProcessPointer, _ signal: Int32) -> SignalAction {
        process.pointee.signalActions?[Int(signal) - 1] ?? SignalAction()
    }

    private static func isIgnored(_ process: ProcessPointer, _ signal: Int32) -> Bool {
        let handler = action(process, signal).handler
        return handler == SignalAction.ignoreHandler
            || (handler == SignalAction.defaultHandler && ignoredByDefault & bit(signal) != 0)
    }

    /// Whether children of `process` leave no zombies: SIGCHLD is ignored by request, or SA_NOCLDWAIT is set.
    static func ignoresChildren(_ process: ProcessPointer) -> Bool {
        let action = action(process, SIGCHLD)
        return action.handler == SignalAction.ignoreHandler || action.flags & SignalAction.noChildWait != 0
    }

    /// What is known of each signal; nil while no handler could be told.
    private static func information(_ process: ProcessPointer) -> UnsafeMutablePointer<SignalInformation>? {
        guard let actions = process.pointee.signalActions else { return nil }
        return UnsafeMutableRawPointer(actions + SignalAction.count).assumingMemoryBound(to: SignalInformation.self)
    }

    /// Makes a signal pending; a waiting process is woken if the signal interrupts it.
    static func send(_ signal: Int32, to process: ProcessPointer, _ information: SignalInformation) {
        if process.pointee.state == .zombie || (signal != SIGKILL && isIgnored(process, signal)) { return }
        // Of signals of one number the first that waits is delivered.
        if process.pointee.pendingSignals & bit(signal) == 0 {
            self.information(process)?[Int(signal) - 1] = information
        }
        process.pointee.pendingSignals |= bit(signal)
        // The current process may be blocked too: the idle wait runs on the stack of whoever blocked last.
        if process.pointee.state == .blocked {
            if isInterrupting(process) { Scheduler.wake(process: process) }
        } else if process == Scheduler.current {
            cpu_block.returnWork = 1
        }
    }

    @inline(__always)
    static func isInterrupting(_ process: ProcessPointer) -> Bool {
        process.pointee.pendingSignals & ~process.pointee.blockedSignals != 0
    }

    /// The signal that will end `process`, if one is deliverable.
    static func fatalPending(_ process: ProcessPointer) -> Int32? {
        var set = process.pointee.pendingSignals & ~process.pointee.blockedSignals
        while set != 0 {
            let signal = Int32(truncatingIfNeeded: set.trailingZeroBitCount) &+ 1
            if action(process, signal).handler == SignalAction.defaultHandler { return signal }
            set &= set &- 1
        }
        return nil
    }

    static func setBlocked(_ process: ProcessPointer, _ set: UInt64) {
        process.pointee.blockedSignals = set & ~unblockable
        if process.pointee.pendingSignals != 0 { cpu_block.returnWork = 1 }
    }

    /// A fault of the current process: its handler runs if it has one, else it ends.
    static func raiseFault(
        _ signal: Int32, _ frame: UnsafeMutablePointer<TrapFrame>, address: UInt64, _ information: SignalInformation
    ) {
        let process = Scheduler.currentProcess
        let action = action(process, signal)
        if action.handler <= SignalAction.ignoreHandler || process.pointee.blockedSignals & bit(signal) != 0
            || !SignalFrame.push(process, signal, action, frame, information, isFault: true)
        {
            logFault(process, signal, frame, address)
            endCurrentProcess(status: signal)
        }
    }

    private static func logFault(
        _ process: ProcessPointer, _ signal: Int32, _ frame: UnsafeMutablePointer<TrapFrame>, _ address: UInt64
    ) {
        kernelLog.text("process ")
        kernelLog.decimal(UInt64(UInt32(bitPattern: process.pointee.identifier)))
        kernelLog.text(" ended by signal ")
        kernelLog.decimal(UInt64(UInt32(bitPattern: signal)))
        kernelLog.text(": exception ")
        kernelLog.decimal(frame.pointee.vector)
        kernelLog.text(", error code ")
        kernelLog.hexadecimal(frame.pointee.errorCode)
        kernelLog.text(", rip ")
        kernelLog.hexadecimal(frame.pointee.rip)
        kernelLog.text(", rsp ")
        kernelLog.hexadecimal(frame.pointee.rsp)
        kernelLog.text(", address ")
        kernelLog.hexadecimal(address)
        kernelLog.end()
    }

    /// Delivers what is pending; `frame` is complete and about to go back to ring 3.
    static func deliver(_ frame: UnsafeMutablePointer<TrapFrame>, fromSystemCall: Bool) {
        // A tick in the midst of a ring-3 stub: the frame is not the program's.
        if cpu_block.stubStackPointer != 0 { return }
        let process = Scheduler.currentProcess
        var interrupted = fromSystemCall && frame.pointee.rax == UInt64(bitPattern: Int64(-ERESTARTSYS))
        while isInterrupting(process) {
            let set = process.pointee.pendingSignals & ~process.pointee.blockedSignals
            let signal = Int32(truncatingIfNeeded: set.trailingZeroBitCount) &+ 1
            process.pointee.pendingSignals &= ~bit(signal)
            let action = action(process, signal)
            if signal == SIGKILL { endCurrentProcess(status: signal) }
            if isIgnored(process, signal) { continue }
            if action.handler == SignalAction.defaultHandler { endCurrentProcess(status: signal) }
            if interrupted {
                interrupted = false
                if action.flags & SignalAction.restart != 0 {
                    restartCall(frame)
                } else {
                    frame.pointee.rax = UInt64(bitPattern: Int64(-EINTR))
                }
            }
            let information = information(process)?[Int(signal) - 1] ?? .fromKernel
            if !SignalFrame.push(process, signal, action, frame, information, isFault: false) {
                endCurrentProcess(status: SIGSEGV)
            }
        }
        if interrupted { restartCall(frame) }
        if process.pointee.restoresBlockedSignals {
            process.pointee.restoresBlockedSignals = false
            process.pointee.blockedSignals = process.pointee.savedBlockedSignals
        }
        cpu_block.returnWork = isInterrupting(process) ? 1 : 0
    }

    /// Back to the `syscall` instruction (2 bytes), with the number that entry.S has kept.
    private static func restartCall(_ frame: UnsafeMutablePointer<TrapFrame>) {
        frame.pointee.rip &-= 2
        frame.pointee.rax = frame.pointee.errorCode
    }

    /// SIGALRM for every process whose alarm time has come; the next alarm time, or `TimerInterrupts.never`.
    static func raiseAlarms(_ now: UInt64) -> UInt64 {
        var next = TimerInterrupts.never
        var candidate = Scheduler.firstOfAll
        while let process = candidate {
            candidate = process.pointee.nextOfAll
            if process.pointee.alarmTime == 0 { continue }
            if process.pointee.alarmTime <= now {
                let interval = process.pointee.alarmInterval
                // Never so soon again that the process gets no further for signals, where ring 0 is emulated too.
                process.pointee.alarmTime = interval == 0 ? 0 : now &+ (interval < 10_000_000 ? 10_000_000 : interval)
                send(SIGALRM, to: process, .fromKernel)
                if interval == 0 { continue }
            }
            if process.pointee.alarmTime < next { next = process.pointee.alarmTime }
        }
        return next
    }
}

/// From entry.S: `cpu_block.returnWork` was set when the current process was about to go back to ring 3.
@c(returnWork)
func returnWork(_ frame: UnsafeMutablePointer<TrapFrame>, _ fromSystemCall: Int32) {
    Signals.deliver(frame, fromSystemCall: fromSystemCall != 0)
}
