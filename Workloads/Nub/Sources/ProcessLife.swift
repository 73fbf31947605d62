import CPU

// fork, exit and wait.

/// clone(2) flags that Nub knows.
enum CloneFlags {
    static let memory: UInt64 = 0x100
    static let vfork: UInt64 = 0x4000
    static let setThreadPointer: UInt64 = 0x8_0000
    static let parentSetIdentifier: UInt64 = 0x10_0000
    static let childClearIdentifier: UInt64 = 0x20_0000
    static let childSetIdentifier: UInt64 = 0x100_0000
    /// Sharing that only threads ask for: CLONE_SIGHAND, CLONE_THREAD.
    static let thread: UInt64 = 0x1_0800
}

/// Makes a child of the current process that returns 0 from the same call. Its identifier, or a negative error number.
func forkCurrentProcess(
    _ frame: UnsafeMutablePointer<TrapFrame>, flags: UInt64, stack: UInt64, parentIdentifier: UInt64,
    childIdentifier: UInt64, threadPointer: UInt64
) -> Int {
    if flags & CloneFlags.thread != 0 { return -ENOSYS }
    // Memory is shared only with a child whose parent waits: one thread runs in an address space at a time.
    if flags & CloneFlags.memory != 0 && flags & CloneFlags.vfork == 0 { return -ENOSYS }
    freeDisowned()
    let parent = Scheduler.currentProcess
    let identifier = Scheduler.newIdentifier()
    guard let child = Process.make(identifier: identifier, workingDirectory: parent.pointee.workingDirectory) else {
        return -ENOMEM
    }
    let space: UnsafeMutablePointer<AddressSpace>?
    if flags & CloneFlags.memory != 0 {
        space = parent.pointee.space
        space?.pointee.references &+= 1
    } else {
        space = parent.pointee.space.unsafelyUnwrapped.pointee.fork()
    }
    guard let space, copySignalActions(from: parent, to: child) else {
        if let space { AddressSpace.release(space) }
        Process.releaseResources(child)
        Process.destroy(child)
        return -ENOMEM
    }
    child.pointee.space = space
    ThreadPointers.save(parent)
    child.pointee.fsBase = flags & CloneFlags.setThreadPointer != 0 ? threadPointer : parent.pointee.fsBase
    child.pointee.gsBase = parent.pointee.gsBase
    child.pointee.group = parent.pointee.group
    child.pointee.session = parent.pointee.session
    child.pointee.umask = parent.pointee.umask
    child.pointee.blockedSignals = parent.pointee.blockedSignals
    child.pointee.alternateStack = parent.pointee.alternateStack
    child.pointee.alternateStackBytes = parent.pointee.alternateStackBytes
    child.pointee.executable = parent.pointee.executable
    if let node = parent.pointee.executable { node.pointee.references &+= 1 }
    var open = parent.pointee.openFiles
    child.pointee.openFiles = open
    while open != 0 {
        let descriptor = open.trailingZeroBitCount
        let file = parent.pointee.files[descriptor]
        file.unsafelyUnwrapped.pointee.references &+= 1
        child.pointee.files[descriptor] = file
        open &= open &- 1
    }
    child.pointee.closeOnExec = parent.pointee.closeOnExec
    fpu.copy(from: parent, to: child)

    // The child's kernel stack: what cpu_switch_context pops (six registers, return address), then the user's frame.
    let childFrame = child.pointee.frame
    childFrame.pointee = frame.pointee
    childFrame.pointee.rax = 0
    childFrame.pointee.rcx = frame.pointee.rip
    childFrame.pointee.r11 = frame.pointee.rflags
    if stack != 0 { childFrame.pointee.rsp = stack }
    let switchFrame: UnsafeMutablePointer<UInt64> = pointer(addressOf(childFrame) &- 56)
    for index in 0..<6 { switchFrame[index] = 0 }
    switchFrame[6] = kernel_new_process_entry()
    child.pointee.savedStackPointer = addressOf(switchFrame)

    child.pointee.parent = parent
    child.pointee.nextSibling = parent.pointee.firstChild
    parent.pointee.firstChild = child
    Scheduler.add(child)
    if flags & CloneFlags.parentSetIdentifier != 0 { _ = UserMemory.store(identifier, at: parentIdentifier) }
    if flags & CloneFlags.childClearIdentifier != 0 { child.pointee.clearChildThread = childIdentifier }
    if flags & CloneFlags.childSetIdentifier != 0 {
        storeIdentifier(identifier, at: childIdentifier, in: space, of: parent)
    }
    Scheduler.makeRunnable(child)
    if flags & CloneFlags.vfork != 0 {
        child.pointee.holdsParent = true
        while child.pointee.holdsParent { Scheduler.sleepUninterrupted(on: addressOf(child)) }
    }
    return Int(identifier)
}

/// CLONE_CHILD_SETTID: the word lies in the child's memory, which is loaded for the store.
private func storeIdentifier(
    _ identifier: Int32, at address: UInt64, in space: UnsafeMutablePointer<AddressSpace>, of parent: ProcessPointer
) {
    let own = parent.pointee.space
    parent.pointee.space = space
    Scheduler.load(space.pointee.root)
    _ = UserMemory.store(identifier, at: address)
    parent.pointee.space = own
    Scheduler.load(own.unsafelyUnwrapped.pointee.root)
}

private func copySignalActions(from parent: ProcessPointer, to child: ProcessPointer) -> Bool {
    guard let actions = parent.pointee.signalActions else { return true }
    guard let copy = kernelHeap.allocate(SignalAction.tableBytes) else { return false }
    memcpy(copy, actions, UInt(SignalAction.tableBytes))
    child.pointee.signalActions = copy.assumingMemoryBound(to: SignalAction.self)
    return true
}

/// Lets a vfork parent go on: the child has its own program now, or is gone.
func releaseVforkParent(_ process: ProcessPointer) {
    if process.pointee.holdsParent {
        process.pointee.holdsParent = false
        Scheduler.wake(addressOf(process))
    }
}

/// Ends the current process with a status as wait4 gives it.
func endCurrentProcess(status: Int32) -> Never {
    let process = Scheduler.currentProcess
    cpu_block.stubStackPointer = 0
    if process.pointee.outOfMemory {
        kernelLog.text("out of memory: process ")
        kernelLog.decimal(UInt64(UInt32(bitPattern: process.pointee.identifier)))
        kernelLog.text(" is killed")
        kernelLog.end()
    }
    if process.pointee.identifier == 1 { endMachine(status: status) }

    // As in Linux: a word of the memory that others share is cleared, then its waiter woken (there are no waiters here).
    if process.pointee.clearChildThread != 0 && process.pointee.holdsParent {
        _ = UserMemory.store(Int32(0), at: process.pointee.clearChildThread)
    }
    process.pointee.alarmTime = 0
    Scheduler.loadKernelSpace()
    process.pointee.state = .zombie
    process.pointee.exitStatus = status
    Process.releaseResources(process)
    releaseVforkParent(process)

    // Orphans go to the first process.
    let first = Scheduler.process(1)
    while let child = process.pointee.firstChild {
        process.pointee.firstChild = child.pointee.nextSibling
        child.pointee.parent = first
        child.pointee.nextSibling = first?.pointee.firstChild
        first?.pointee.firstChild = child
        if child.pointee.state == .zombie, let first { Scheduler.wake(addressOf(first) &+ 1) }
    }
    if let parent = process.pointee.parent {
        if Signals.ignoresChildren(parent) { disown(process, by: parent) }
        Signals.send(SIGCHLD, to: parent, .ended(process))
        Scheduler.wake(addressOf(parent) &+ 1)
    }
    Scheduler.reschedule()
    kernelPanic("an ended process was run")
}

/// Ended processes that nobody waits for, linked by `nextSibling`. They stand on their own stacks when they end, so
/// another process frees them.
nonisolated(unsafe) private var firstDisowned: ProcessPointer?

private func disown(_ process: ProcessPointer, by parent: ProcessPointer) {
    if parent.pointee.firstChild == process {
        parent.pointee.firstChild = process.pointee.nextSibling
    } else {
        var candidate = parent.pointee.firstChild
        while let sibling = candidate, sibling.pointee.nextSibling != process {
            candidate = sibling.pointee.nextSibling
        }
        candidate?.pointee.nextSibling = process.pointee.nextSibling
    }
    Scheduler.remove(process)
    process.pointee.nextSibling = firstDisowned
    firstDisowned = process
}

private func freeDisowned() {
    while let process = firstDisowned {
        firstDisowned = process.pointee.nextSibling
        Process.destroy(process)
    }
}

/// wait4(2) by the current process. Identifier and status, or a negative error number.
func waitForChild(_ wanted: Int32, noHang: Bool) -> (identifier: Int, status: Int32) {
    let process = Scheduler.currentProcess
    while true {
        var found = false
        var previous: ProcessPointer?
        var candidate = process.pointee.firstChild
        while let child = candidate {
            let matches =
                wanted == -1 || wanted == child.pointee.identifier
                || (wanted == 0 && child.pointee.group == process.pointee.group)
                || (wanted < -1 && child.pointee.group == 0 &- wanted)
            if matches {
                found = true
                if child.pointee.state == .zombie {
                    if let previous {
                        previous.pointee.nextSibling = child.pointee.nextSibling
                    } else {
                        process.pointee.firstChild = child.pointee.nextSibling
                    }
                    let result = (Int(child.pointee.identifier), child.pointee.exitStatus)
                    Scheduler.remove(child)
                    Process.destroy(child)
                    return result
                }
            }
            previous = child
            candidate = child.pointee.nextSibling
        }
        if !found { return (-ECHILD, 0) }
        if noHang { return (0, 0) }
        // Children that end wake their parent on this channel.
        if !Scheduler.sleep(on: addressOf(process) &+ 1) { return (-ERESTARTSYS, 0) }
    }
}
