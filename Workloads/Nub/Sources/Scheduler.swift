import CPU

/// What the guest counts for the report.
struct Statistics {
    var pageFaults: UInt64 = 0
    var copyOnWriteFaults: UInt64 = 0
    var contextSwitches: UInt64 = 0
    /// Interrupts of the timer: ticks, and ends of waits.
    var timerTicks: UInt64 = 0
    var processes: UInt64 = 0
}

nonisolated(unsafe) var statistics = Statistics()

/// Round-robin over the runnable processes: a process runs until it blocks, ends, or its slice of one timer tick (10 ms) is over
/// and another is waiting. Ring 0 is never preempted.
///
/// Its state is static, not in a value with mutating methods: other processes change it while a call of `reschedule` is
/// under way.
enum Scheduler {
    nonisolated(unsafe) private(set) static var current: ProcessPointer?
    nonisolated(unsafe) private static var firstRunnable: ProcessPointer?
    nonisolated(unsafe) private static var lastRunnable: ProcessPointer?
    nonisolated(unsafe) private static var firstBlocked: ProcessPointer?
    nonisolated(unsafe) private(set) static var blockedCount: UInt32 = 0
    nonisolated(unsafe) private(set) static var firstOfAll: ProcessPointer?
    nonisolated(unsafe) private static var nextIdentifier: Int32 = 1
    /// Root of the page tables in CR3; `.none` for the kernel's own.
    nonisolated(unsafe) private(set) static var loadedRoot: Frame = .none

    /// Page faults of everyone when the current process began to run.
    nonisolated(unsafe) private static var pageFaultsBefore: UInt64 = 0

    @inline(__always)
    static var currentProcess: ProcessPointer { current.unsafelyUnwrapped }

    /// Page faults of the current process in all its life. Faults count for all only, so that a fault costs no more for it.
    static var pageFaultsOfCurrent: UInt64 {
        currentProcess.pointee.pageFaults &+ (statistics.pageFaults &- pageFaultsBefore)
    }

    static var hasRunnable: Bool { firstRunnable != nil }

    // MARK: Processes

    static func newIdentifier() -> Int32 {
        while true {
            let identifier = nextIdentifier
            nextIdentifier = identifier >= 4_194_303 ? 2 : identifier &+ 1
            // Before the numbers begin again, every one is new.
            if statistics.processes < 4_000_000 || process(identifier) == nil { return identifier }
        }
    }

    static func process(_ identifier: Int32) -> ProcessPointer? {
        var candidate = firstOfAll
        while let process = candidate {
            if process.pointee.identifier == identifier { return process }
            candidate = process.pointee.nextOfAll
        }
        return nil
    }

    static func add(_ process: ProcessPointer) {
        process.pointee.nextOfAll = firstOfAll
        firstOfAll = process
        statistics.processes &+= 1
    }

    static func remove(_ process: ProcessPointer) {
        if firstOfAll == process {
            firstOfAll = process.pointee.nextOfAll
            return
        }
        var candidate = firstOfAll
        while let other = candidate {
            if other.pointee.nextOfAll == process {
                other.pointee.nextOfAll = process.pointee.nextOfAll
                return
            }
            candidate = other.pointee.nextOfAll
        }
    }

    // MARK: Queues

    static func makeRunnable(_ process: ProcessPointer) {
        process.pointee.state = .runnable
        process.pointee.nextInQueue = nil
        if let last = lastRunnable { last.pointee.nextInQueue = process } else { firstRunnable = process }
        lastRunnable = process
    }

    /// Blocks the current process until `wake` on this channel, its wake time, or a signal. False when a signal that it
    /// handles ended the wait; a signal that kills it ends it here, so callers hold nothing they would have to give back.
    static func sleep(on channel: UInt64, until wakeTime: UInt64 = 0) -> Bool {
        let process = currentProcess
        if Signals.isInterrupting(process) { return interrupted(process) }
        block(on: channel, until: wakeTime)
        return Signals.isInterrupting(process) ? interrupted(process) : true
    }

    /// Blocks the current process until `wake` on this channel, whatever signals come.
    static func sleepUninterrupted(on channel: UInt64) {
        block(on: channel, until: 0)
    }

    private static func block(on channel: UInt64, until wakeTime: UInt64) {
        let process = currentProcess
        process.pointee.state = .blocked
        process.pointee.waitChannel = channel
        process.pointee.wakeTime = wakeTime
        process.pointee.nextInQueue = firstBlocked
        firstBlocked = process
        blockedCount &+= 1
        if wakeTime != 0 { TimerInterrupts.note(wakeTime) }
        reschedule()
    }

    private static func interrupted(_ process: ProcessPointer) -> Bool {
        if let signal = Signals.fatalPending(process) { endCurrentProcess(status: signal) }
        return false
    }

    private static func unblock(_ process: ProcessPointer, after previous: ProcessPointer?) {
        if let previous {
            previous.pointee.nextInQueue = process.pointee.nextInQueue
        } else {
            firstBlocked = process.pointee.nextInQueue
        }
        blockedCount &-= 1
        process.pointee.wakeTime = 0
        makeRunnable(process)
    }

    /// Makes everyone on this channel runnable.
    static func wake(_ channel: UInt64) {
        var previous: ProcessPointer?
        var candidate = firstBlocked
        while let process = candidate {
            candidate = process.pointee.nextInQueue
            if process.pointee.waitChannel == channel {
                unblock(process, after: previous)
            } else {
                previous = process
            }
        }
    }

    /// Makes one blocked process runnable (a signal came).
    static func wake(process wanted: ProcessPointer) {
        var previous: ProcessPointer?
        var candidate = firstBlocked
        while let process = candidate {
            if process == wanted {
                unblock(process, after: previous)
                return
            }
            previous = process
            candidate = process.pointee.nextInQueue
        }
    }

    /// Makes everyone runnable whose wake time has come; the next wake time, or `TimerInterrupts.never`.
    static func wakeTimed(_ now: UInt64) -> UInt64 {
        var next = TimerInterrupts.never
        var previous: ProcessPointer?
        var candidate = firstBlocked
        while let process = candidate {
            candidate = process.pointee.nextInQueue
            let time = process.pointee.wakeTime
            if time != 0 && time <= now {
                unblock(process, after: previous)
            } else {
                if time != 0 && time < next { next = time }
                previous = process
            }
        }
        return next
    }

    // MARK: Switching

    /// Lets the others run first.
    static func yield() {
        if firstRunnable == nil { return }
        makeRunnable(currentProcess)
        reschedule()
    }

    /// Switches to the next runnable process, waiting for one if there is none. The current process is in a queue, or
    /// ended.
    static func reschedule() {
        while firstRunnable == nil {
            if mailbox.hasUnflushedOutput { mailbox.ring() }
            TimerInterrupts.armForIdle()
            cpu_idle_until_interrupt()
        }
        let next = firstRunnable.unsafelyUnwrapped
        firstRunnable = next.pointee.nextInQueue
        if firstRunnable == nil { lastRunnable = nil }
        let previous = currentProcess
        if next == previous {
            cpu_block.returnWork = next.pointee.pendingSignals == 0 ? 0 : 1
            return
        }
        statistics.contextSwitches &+= 1
        previous.pointee.pageFaults = pageFaultsOfCurrent
        pageFaultsBefore = statistics.pageFaults
        saveSegments(previous)
        fpu.save(leaving: previous)
        current = next
        prepare(next)
        cpu_switch_context(&previous.pointee.savedStackPointer, next.pointee.savedStackPointer)
    }

    /// Loads what `process` needs in ring 3, but for the registers in its frame.
    private static func prepare(_ process: ProcessPointer) {
        cpu_tss.rsp0 = process.pointee.kernelStack &+ Process.kernelStackBytes
        load(process.pointee.space.unsafelyUnwrapped.pointee.root)
        fpu.restore(entering: process)
        ThreadPointers.load(process)
        cpu_block.returnWork = process.pointee.pendingSignals == 0 ? 0 : 1
    }

    private static func saveSegments(_ process: ProcessPointer) {
        if process.pointee.state != .zombie { ThreadPointers.save(process) } else { ThreadPointers.forget() }
    }

    /// Loads an address space unless it is loaded already.
    static func load(_ root: Frame) {
        if root == loadedRoot { return }
        loadedRoot = root
        cpu_write_cr3(root.address.rawValue)
    }

    /// Leaves the current address space for the kernel's own.
    static func loadKernelSpace() {
        loadedRoot = .none
        cpu_write_cr3(KernelPageTables.bootRoot.rawValue)
    }

    /// Starts the first process; `process` has its frame and address space.
    static func startFirst(_ process: ProcessPointer) -> Never {
        current = process
        process.pointee.state = .runnable
        prepare(process)
        cpu_enter_user(process.pointee.frame)
    }

    static func setCurrent(_ process: ProcessPointer) { current = process }
}

/// FS and GS base, which belong to the program in ring 3 (ring 0 uses neither).
enum ThreadPointers {
    private static let fsBaseRegister: UInt32 = 0xC000_0100
    private static let gsBaseRegister: UInt32 = 0xC000_0101

    nonisolated(unsafe) private static var loadedFS: UInt64 = 0
    nonisolated(unsafe) private static var loadedGS: UInt64 = 0

    /// The program may have changed them itself (wrfsbase), so they are read back where that is possible.
    static func save(_ process: ProcessPointer) {
        guard processor.hasFSGSBase else { return }
        loadedFS = cpu_rdmsr(fsBaseRegister)
        loadedGS = cpu_rdmsr(gsBaseRegister)
        process.pointee.fsBase = loadedFS
        process.pointee.gsBase = loadedGS
    }

    /// The values in the registers are unknown from here on.
    static func forget() {
        loadedFS = .max
        loadedGS = .max
    }

    static func load(_ process: ProcessPointer) {
        if process.pointee.fsBase != loadedFS { setFS(process, process.pointee.fsBase) }
        if process.pointee.gsBase != loadedGS { setGS(process, process.pointee.gsBase) }
    }

    static func setFS(_ process: ProcessPointer, _ base: UInt64) {
        process.pointee.fsBase = base
        loadedFS = base
        cpu_wrmsr(fsBaseRegister, base)
    }

    static func setGS(_ process: ProcessPointer, _ base: UInt64) {
        process.pointee.gsBase = base
        loadedGS = base
        cpu_wrmsr(gsBaseRegister, base)
    }
}
