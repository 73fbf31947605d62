import CPU

/// What the scheduler may do with a process.
enum ProcessState: UInt8 {
    case runnable
    case blocked
    /// Ended, its status not yet collected by its parent.
    case zombie
}

typealias ProcessPointer = UnsafeMutablePointer<Process>

/// A process: one thread, one address space (a vfork child borrows its parent's).
struct Process {
    var identifier: Int32
    var state: ProcessState
    /// RAM ran out in a page fault: the process is to be killed.
    var outOfMemory: Bool
    /// A vfork parent sleeps until this is false again.
    var holdsParent: Bool
    var parent: ProcessPointer?
    var firstChild: ProcessPointer?
    var nextSibling: ProcessPointer?
    /// Run queue or list of the blocked.
    var nextInQueue: ProcessPointer?
    var nextOfAll: ProcessPointer?

    // Execution.
    var kernelStack: UInt64
    var savedStackPointer: UInt64
    var space: UnsafeMutablePointer<AddressSpace>?
    var fsBase: UInt64
    var gsBase: UInt64
    var fpuArea: Frame

    /// Page faults until it last stopped running (see `Scheduler.pageFaultsOfCurrent`).
    var pageFaults: UInt64 = 0

    // Waiting.
    var waitChannel: UInt64
    /// Monotonic nanoseconds at which a sleep ends, or 0.
    var wakeTime: UInt64

    // Relations.
    var group: Int32
    var session: Int32
    /// Status as wait4 gives it, of a zombie.
    var exitStatus: Int32
    var clearChildThread: UInt64

    // Files.
    var files: UnsafeMutablePointer<OpenFilePointer?>
    /// Bit n: descriptor n is open.
    var openFiles: UInt64
    var closeOnExec: UInt64
    var workingDirectory: NodePointer
    var executable: NodePointer?
    var umask: UInt16

    // Signals.
    var pendingSignals: UInt64
    var blockedSignals: UInt64
    var savedBlockedSignals: UInt64
    var restoresBlockedSignals: Bool
    /// 64 actions, or nil while all are the default.
    var signalActions: UnsafeMutablePointer<SignalAction>?
    var alternateStack: UInt64
    var alternateStackBytes: UInt64
    /// Monotonic nanoseconds of the next SIGALRM, or 0, and the interval to the one after.
    var alarmTime: UInt64
    var alarmInterval: UInt64

    static let maximumFiles = 64
    /// One frame. The deepest chains (exec with a page fault while copying arguments) take about half of it.
    static let kernelStackBytes: UInt64 = pageBytes
    private static let stackCanary: UInt64 = 0x4E75_6253_7461_636B

    /// The register frame of the process at the top of its kernel stack.
    var frame: UnsafeMutablePointer<TrapFrame> {
        pointer(kernelStack &+ Process.kernelStackBytes &- UInt64(MemoryLayout<TrapFrame>.size))
    }

    /// A process without address space, children or files, not yet known to the Scheduler.
    static func make(identifier: Int32, workingDirectory: NodePointer) -> ProcessPointer? {
        guard let process = kernelHeap.make(Process.self) else { return nil }
        guard let files = kernelHeap.allocate(maximumFiles * 8) else {
            kernelHeap.destroy(process)
            return nil
        }
        guard let stack = physicalMemory.allocate() else {
            kernelHeap.release(files, bytes: maximumFiles * 8)
            kernelHeap.destroy(process)
            return nil
        }
        guard let area = physicalMemory.allocate() else {
            physicalMemory.release(stack)
            kernelHeap.release(files, bytes: maximumFiles * 8)
            kernelHeap.destroy(process)
            return nil
        }
        stack.words[0] = stackCanary
        workingDirectory.pointee.references &+= 1
        process.pointee = Process(
            identifier: identifier, state: .blocked, outOfMemory: false, holdsParent: false, parent: nil,
            firstChild: nil, nextSibling: nil, nextInQueue: nil, nextOfAll: nil, kernelStack: stack.address.linear,
            savedStackPointer: 0, space: nil, fsBase: 0, gsBase: 0, fpuArea: area, waitChannel: 0, wakeTime: 0,
            group: identifier, session: identifier, exitStatus: 0, clearChildThread: 0,
            files: files.assumingMemoryBound(to: OpenFilePointer?.self), openFiles: 0, closeOnExec: 0,
            workingDirectory: workingDirectory, executable: nil, umask: 0o022, pendingSignals: 0, blockedSignals: 0,
            savedBlockedSignals: 0, restoresBlockedSignals: false, signalActions: nil, alternateStack: 0,
            alternateStackBytes: 0, alarmTime: 0, alarmInterval: 0)
        return process
    }

    /// Frees what a zombie still has. It must not be the current process.
    static func destroy(_ process: ProcessPointer) {
        if pointer(process.pointee.kernelStack, as: UInt64.self).pointee != stackCanary {
            kernelPanic("kernel stack overflow")
        }
        let stack = PhysicalAddress(process.pointee.kernelStack &- Layout.physicalMap)
        physicalMemory.release(Frame(containing: stack))
        kernelHeap.destroy(process)
    }

    /// Drops files, memory and all else that a zombie does not need. The address space must not be the loaded one.
    static func releaseResources(_ process: ProcessPointer) {
        closeFiles(process, mask: .max)
        kernelHeap.release(UnsafeMutableRawPointer(process.pointee.files), bytes: maximumFiles * 8)
        Node.release(process.pointee.workingDirectory)
        if let node = process.pointee.executable { Node.release(node) }
        process.pointee.executable = nil
        if let actions = process.pointee.signalActions {
            kernelHeap.release(UnsafeMutableRawPointer(actions), bytes: SignalAction.tableBytes)
            process.pointee.signalActions = nil
        }
        fpu.forget(process)
        physicalMemory.release(process.pointee.fpuArea)
        if let space = process.pointee.space { AddressSpace.release(space) }
        process.pointee.space = nil
    }

    // MARK: Files

    /// Closes every descriptor whose bit is set in `mask`.
    static func closeFiles(_ process: ProcessPointer, mask: UInt64) {
        var closing = process.pointee.openFiles & mask
        while closing != 0 {
            process.pointee.take(closing.trailingZeroBitCount).map(OpenFile.release)
            closing &= closing &- 1
        }
    }

    /// Makes a descriptor free; the file's reference goes to the caller.
    mutating func take(_ descriptor: Int) -> OpenFilePointer? {
        let file = files[descriptor]
        let bit = UInt64(1) << UInt64(descriptor)
        files[descriptor] = nil
        openFiles &= ~bit
        closeOnExec &= ~bit
        return file
    }

    /// Puts `file` at a free descriptor; its reference is handed over.
    mutating func put(_ file: OpenFilePointer, at descriptor: Int, closeOnExec close: Bool) {
        files[descriptor] = file
        openFiles |= UInt64(1) << UInt64(descriptor)
        setCloseOnExec(descriptor, close)
    }

    @inline(__always)
    func file(_ descriptor: Int) -> OpenFilePointer? {
        UInt(bitPattern: descriptor) < UInt(Process.maximumFiles) ? files[descriptor] : nil
    }

    /// Lowest free descriptor from `minimum`, or -EMFILE.
    func freeDescriptor(from minimum: Int = 0) -> Int {
        let free = ~openFiles & (.max << UInt64(minimum))
        return free == 0 ? -EMFILE : free.trailingZeroBitCount
    }

    /// Puts `file` (its reference is handed over) at the lowest free descriptor; releases it when there is none.
    mutating func install(_ file: OpenFilePointer, closeOnExec close: Bool) -> Int {
        let descriptor = freeDescriptor()
        if descriptor < 0 {
            OpenFile.release(file)
            return descriptor
        }
        put(file, at: descriptor, closeOnExec: close)
        return descriptor
    }

    mutating func setCloseOnExec(_ descriptor: Int, _ close: Bool) {
        let bit = UInt64(1) << UInt64(descriptor)
        if close { closeOnExec |= bit } else { closeOnExec &= ~bit }
    }
}
