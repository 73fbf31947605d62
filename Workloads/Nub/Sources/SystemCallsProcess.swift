import CPU

// Processes: identity, fork, exec, wait, signals. Names and semantics of the Linux man pages, section 2.

@c(systemCallGetpid)
func systemCallGetpid() -> Int { Int(Scheduler.currentProcess.pointee.identifier) }

@c(systemCallGetppid)
func systemCallGetppid() -> Int { Int(Scheduler.currentProcess.pointee.parent?.pointee.identifier ?? 0) }

/// Everything runs as root.
@c(systemCallGetuid)
func systemCallGetuid() -> Int { 0 }

@c(systemCallSetuid)
func systemCallSetuid() -> Int { 0 }

@c(systemCallGetgroups)
func systemCallGetgroups() -> Int { 0 }

private func process(orCurrent identifier: Int32) -> ProcessPointer? {
    identifier == 0 ? Scheduler.currentProcess : Scheduler.process(identifier)
}

@c(systemCallGetpgrp)
func systemCallGetpgrp() -> Int { Int(Scheduler.currentProcess.pointee.group) }

@c(systemCallGetpgid)
func systemCallGetpgid(_ identifier: Int32) -> Int {
    guard let process = process(orCurrent: identifier) else { return -ESRCH }
    return Int(process.pointee.group)
}

@c(systemCallSetpgid)
func systemCallSetpgid(_ identifier: Int32, _ group: Int32) -> Int {
    guard let process = process(orCurrent: identifier) else { return -ESRCH }
    if group < 0 { return -EINVAL }
    process.pointee.group = group == 0 ? process.pointee.identifier : group
    return 0
}

@c(systemCallGetsid)
func systemCallGetsid(_ identifier: Int32) -> Int {
    guard let process = process(orCurrent: identifier) else { return -ESRCH }
    return Int(process.pointee.session)
}

@c(systemCallSetsid)
func systemCallSetsid() -> Int {
    let process = Scheduler.currentProcess
    if process.pointee.group == process.pointee.identifier && process.pointee.identifier != 1 { return -EPERM }
    process.pointee.session = process.pointee.identifier
    process.pointee.group = process.pointee.identifier
    return Int(process.pointee.identifier)
}

@c(systemCallFork)
func systemCallFork(_ frame: UnsafeMutablePointer<TrapFrame>) -> Int {
    forkCurrentProcess(frame, flags: 0, stack: 0, parentIdentifier: 0, childIdentifier: 0, threadPointer: 0)
}

@c(systemCallVfork)
func systemCallVfork(_ frame: UnsafeMutablePointer<TrapFrame>) -> Int {
    forkCurrentProcess(
        frame, flags: CloneFlags.memory | CloneFlags.vfork, stack: 0, parentIdentifier: 0, childIdentifier: 0,
        threadPointer: 0)
}

@c(systemCallClone)
func systemCallClone(_ frame: UnsafeMutablePointer<TrapFrame>) -> Int {
    let result = forkCurrentProcess(
        frame, flags: frame.pointee.rdi, stack: frame.pointee.rsi, parentIdentifier: frame.pointee.rdx,
        childIdentifier: frame.pointee.r10, threadPointer: frame.pointee.r8)
    return result == -ENOSYS ? systemCallUnknown(56) : result
}

/// struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls.
@c(systemCallClone3)
func systemCallClone3(_ frame: UnsafeMutablePointer<TrapFrame>) -> Int {
    var arguments = InlineArray<8, UInt64>(repeating: 0)
    if frame.pointee.rsi < 64 || !UserMemory.load(&arguments, from: frame.pointee.rdi) { return -EINVAL }
    let stack = arguments[5] == 0 ? 0 : arguments[5] &+ arguments[6]
    // CLONE_CLEAR_SIGHAND only resets handlers that exec would reset a moment later.
    let result = forkCurrentProcess(
        frame, flags: arguments[0], stack: stack, parentIdentifier: arguments[3], childIdentifier: arguments[2],
        threadPointer: arguments[7])
    return result == -ENOSYS ? systemCallUnknown(435) : result
}

@c(systemCallExecve)
func systemCallExecve(_ frame: UnsafeMutablePointer<TrapFrame>) -> Int {
    let process = Scheduler.currentProcess
    let (path, arguments, environment) = (frame.pointee.rdi, frame.pointee.rsi, frame.pointee.rdx)
    let buffer = kernel_path_buffer().unsafelyUnwrapped
    let length = UserMemory.copyPath(path, buffer)
    if length < 0 { return length }
    let place = fileTree.look(up: buffer, length, from: process.pointee.workingDirectory)
    guard let node = place.node else { return place.error }
    if let failure = startProgram(
        process, node, path: buffer, pathLength: length, arguments: StringVector(userPointers: arguments),
        environment: StringVector(userPointers: environment))
    {
        return failure.error
    }
    fpu.restore(entering: process)
    ThreadPointers.forget()
    ThreadPointers.load(process)
    cpu_enter_user(process.pointee.frame)
}

@c(systemCallExit)
func systemCallExit(_ status: Int32) -> Int { endCurrentProcess(status: (status & 0xFF) << 8) }

@c(systemCallWait4)
func systemCallWait4(_ identifier: Int32, _ status: UInt64, _ options: UInt32, _ usage: UInt64) -> Int {
    let result = waitForChild(identifier, noHang: options & 1 != 0)
    if result.identifier <= 0 { return result.identifier }
    if status != 0 && !UserMemory.store(result.status, at: status) { return -EFAULT }
    if usage != 0 && !UserMemory.zero(usage, 144) { return -EFAULT }
    return result.identifier
}

// MARK: Signals

@c(systemCallKill)
func systemCallKill(_ identifier: Int32, _ signal: Int32) -> Int {
    kill(identifier, signal, .sent(by: Scheduler.currentProcess))
}

private func kill(_ identifier: Int32, _ signal: Int32, _ information: SignalInformation) -> Int {
    if signal < 0 || signal > 64 { return -EINVAL }
    var found = false
    var candidate = Scheduler.firstOfAll
    while let process = candidate {
        candidate = process.pointee.nextOfAll
        let own = process.pointee.identifier
        let matches: Bool
        if identifier > 0 {
            matches = own == identifier
        } else if identifier == -1 {
            matches = own != 1 && process != Scheduler.currentProcess
        } else {
            matches =
                process.pointee.group == (identifier == 0 ? Scheduler.currentProcess.pointee.group : 0 &- identifier)
        }
        if matches {
            found = true
            if signal != 0 { Signals.send(signal, to: process, information) }
        }
    }
    return found ? 0 : -ESRCH
}

@c(systemCallTkill)
func systemCallTkill(_ identifier: Int32, _ signal: Int32) -> Int {
    if identifier <= 0 { return -EINVAL }
    return kill(identifier, signal, .sent(by: Scheduler.currentProcess, toThread: true))
}

@c(systemCallTgkill)
func systemCallTgkill(_ group: Int32, _ identifier: Int32, _ signal: Int32) -> Int {
    if group <= 0 || identifier <= 0 { return -EINVAL }
    return group != identifier ? -ESRCH : systemCallTkill(identifier, signal)
}

@c(systemCallSigaction)
func systemCallSigaction(_ signal: Int32, _ new: UInt64, _ old: UInt64, _ setBytes: UInt64) -> Int {
    if signal < 1 || signal > 64 || setBytes != 8 { return -EINVAL }
    let process = Scheduler.currentProcess
    var action = SignalAction()
    if new != 0 {
        if signal == SIGKILL || signal == SIGSTOP { return -EINVAL }
        if !UserMemory.load(&action, from: new) { return -EFAULT }
    }
    if old != 0 && !UserMemory.store(Signals.action(process, signal), at: old) { return -EFAULT }
    if new == 0 { return 0 }
    if process.pointee.signalActions == nil {
        guard let table = kernelHeap.allocate(SignalAction.tableBytes) else { return -ENOMEM }
        process.pointee.signalActions = table.assumingMemoryBound(to: SignalAction.self)
    }
    process.pointee.signalActions.unsafelyUnwrapped[Int(signal) - 1] = action
    return 0
}

@c(systemCallSigprocmask)
func systemCallSigprocmask(_ how: UInt32, _ new: UInt64, _ old: UInt64, _ setBytes: UInt64) -> Int {
    if setBytes != 8 { return -EINVAL }
    let process = Scheduler.currentProcess
    let blocked = process.pointee.blockedSignals
    var set: UInt64 = 0
    if new != 0 && !UserMemory.load(&set, from: new) { return -EFAULT }
    if old != 0 && !UserMemory.store(blocked, at: old) { return -EFAULT }
    if new == 0 { return 0 }
    switch how {
    case 0: Signals.setBlocked(process, blocked | set)
    case 1: Signals.setBlocked(process, blocked & ~set)
    case 2: Signals.setBlocked(process, set)
    default: return -EINVAL
    }
    return 0
}

@c(systemCallSigpending)
func systemCallSigpending(_ set: UInt64) -> Int {
    let process = Scheduler.currentProcess
    let pending = process.pointee.pendingSignals & process.pointee.blockedSignals
    return UserMemory.store(pending, at: set) ? 0 : -EFAULT
}

@c(systemCallSigsuspend)
func systemCallSigsuspend(_ set: UInt64, _ setBytes: UInt64) -> Int {
    guard setBytes == 8 else { return -EINVAL }
    guard let mask = UserMemory.load64(set) else { return -EFAULT }
    let process = Scheduler.currentProcess
    process.pointee.savedBlockedSignals = process.pointee.blockedSignals
    process.pointee.restoresBlockedSignals = true
    Signals.setBlocked(process, mask)
    return systemCallPause()
}

/// Nobody wakes this channel: only a signal ends the wait.
@c(systemCallPause)
func systemCallPause() -> Int {
    while Scheduler.sleep(on: 2) {}
    return -EINTR
}

@c(systemCallSigaltstack)
func systemCallSigaltstack(_ new: UInt64, _ old: UInt64) -> Int {
    let process = Scheduler.currentProcess
    let disabled: UInt64 = 2
    var stack = (UInt64(0), UInt64(0), UInt64(0))
    if new != 0 && !UserMemory.load(&stack, from: new) { return -EFAULT }
    if old != 0 {
        let bytes = process.pointee.alternateStackBytes
        let current = (process.pointee.alternateStack, bytes == 0 ? disabled : 0, bytes)
        if !UserMemory.store(current, at: old) { return -EFAULT }
    }
    if new == 0 { return 0 }
    if stack.1 & disabled != 0 {
        process.pointee.alternateStackBytes = 0
        return 0
    }
    if stack.2 < 2048 { return -ENOMEM }
    if !UserMemory.isValid(stack.0, stack.2) { return -EFAULT }
    process.pointee.alternateStack = stack.0
    process.pointee.alternateStackBytes = stack.2
    return 0
}

@c(systemCallSigreturn)
func systemCallSigreturn(_ frame: UnsafeMutablePointer<TrapFrame>) {
    if !SignalFrame.pop(Scheduler.currentProcess, frame) { endCurrentProcess(status: SIGSEGV) }
    // entry.S leaves by the plain path; what became deliverable is delivered here.
    if cpu_block.returnWork != 0 { Signals.deliver(frame, fromSystemCall: false) }
}

// MARK: Thread and CPU

@c(systemCallSetTidAddress)
func systemCallSetTidAddress(_ address: UInt64) -> Int {
    Scheduler.currentProcess.pointee.clearChildThread = address
    return systemCallGetpid()
}

@c(systemCallSetRobustList)
func systemCallSetRobustList() -> Int { 0 }

/// Not offered: glibc does without.
@c(systemCallRseq)
func systemCallRseq() -> Int { -ENOSYS }

@c(systemCallArchPrctl)
func systemCallArchPrctl(_ code: UInt64, _ address: UInt64) -> Int {
    let process = Scheduler.currentProcess
    switch code {
    case 0x1001:  // ARCH_SET_GS
        if address >= Layout.userEnd { return -EPERM }
        ThreadPointers.setGS(process, address)
    case 0x1002:  // ARCH_SET_FS
        if address >= Layout.userEnd { return -EPERM }
        ThreadPointers.setFS(process, address)
    case 0x1003, 0x1004:  // ARCH_GET_FS, ARCH_GET_GS
        ThreadPointers.save(process)
        let base = code == 0x1003 ? process.pointee.fsBase : process.pointee.gsBase
        return UserMemory.store(base, at: address) ? 0 : -EFAULT
    default: return -EINVAL
    }
    return 0
}

/// PR_SET_NAME and its like are accepted and mean nothing here.
@c(systemCallPrctl)
func systemCallPrctl(_ option: UInt32) -> Int {
    switch option {
    case 1, 4, 15, 38: return 0  // PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_SET_NO_NEW_PRIVS
    default: return -EINVAL
    }
}

@c(systemCallYield)
func systemCallYield() -> Int {
    Scheduler.yield()
    return 0
}

@c(systemCallSchedGetaffinity)
func systemCallSchedGetaffinity(_ identifier: Int32, _ bytes: UInt64, _ mask: UInt64) -> Int {
    if process(orCurrent: identifier) == nil { return -ESRCH }
    if bytes < 8 || bytes & 7 != 0 { return -EINVAL }
    return UserMemory.store(UInt64(1), at: mask) ? 8 : -EFAULT
}

@c(systemCallSchedSetaffinity)
func systemCallSchedSetaffinity(_ identifier: Int32, _ bytes: UInt64, _ mask: UInt64) -> Int {
    if process(orCurrent: identifier) == nil { return -ESRCH }
    var set: UInt8 = 0
    if bytes == 0 { return -EINVAL }
    if !UserMemory.load(&set, from: mask) { return -EFAULT }
    return set & 1 != 0 ? 0 : -EINVAL
}

@c(systemCallGetcpu)
func systemCallGetcpu(_ cpu: UInt64, _ node: UInt64) -> Int {
    if cpu != 0 && !UserMemory.store(UInt32(0), at: cpu) { return -EFAULT }
    if node != 0 && !UserMemory.store(UInt32(0), at: node) { return -EFAULT }
    return 0
}

/// FUTEX_WAIT sleeps until FUTEX_WAKE on the same address in the same address space (or of shared memory at the same
/// address); other operations are not offered.
@c(systemCallFutex)
func systemCallFutex(_ address: UInt64, _ operation: UInt32, _ value: UInt32, _ timeout: UInt64) -> Int {
    let channel = address &+ 1 << 62
    switch operation & 0x7F {
    case 0, 9:  // FUTEX_WAIT, FUTEX_WAIT_BITSET
        var current: UInt32 = 0
        if !UserMemory.load(&current, from: address) { return -EFAULT }
        if current != value { return -EAGAIN }
        var wakeTime: UInt64 = 0
        if timeout != 0 {
            var time = TimeValue()
            if !UserMemory.load(&time, from: timeout) { return -EFAULT }
            guard let span = time.nanoseconds(unit: 1) else { return -EINVAL }
            let now = clock.monotonicNanoseconds
            wakeTime = operation & 0x7F == 0 ? now &+ span : span
            if wakeTime <= now { return -ETIMEDOUT }
        }
        if !Scheduler.sleep(on: channel, until: wakeTime) { return -EINTR }
        return wakeTime != 0 && clock.monotonicNanoseconds >= wakeTime ? -ETIMEDOUT : 0
    case 1, 10:  // FUTEX_WAKE, FUTEX_WAKE_BITSET
        let before = Scheduler.blockedCount
        Scheduler.wake(channel)
        return Int(before &- Scheduler.blockedCount)
    default: return systemCallUnknown(202)
    }
}

// MARK: Identity and scheduling, of which there is one kind

/// getresuid and getresgid: root.
@c(systemCallGetresuid)
func systemCallGetresuid(_ real: UInt64, _ effective: UInt64, _ saved: UInt64) -> Int {
    let zero: UInt32 = 0
    return UserMemory.store(zero, at: real) && UserMemory.store(zero, at: effective)
        && UserMemory.store(zero, at: saved) ? 0 : -EFAULT
}

/// Niceness 0, which the kernel's getpriority returns as 20 (getpriority(2), C library/kernel differences).
@c(systemCallGetpriority)
func systemCallGetpriority() -> Int { 20 }

@c(systemCallSchedGetparam)
func systemCallSchedGetparam(_ identifier: Int32, _ result: UInt64) -> Int {
    if process(orCurrent: identifier) == nil { return -ESRCH }
    return UserMemory.store(UInt32(0), at: result) ? 0 : -EFAULT
}

/// SCHED_OTHER.
@c(systemCallSchedGetscheduler)
func systemCallSchedGetscheduler(_ identifier: Int32) -> Int { process(orCurrent: identifier) == nil ? -ESRCH : 0 }

/// PER_LINUX, and nothing else.
@c(systemCallPersonality)
func systemCallPersonality(_ wanted: UInt32) -> Int { wanted == 0 || wanted == .max ? 0 : -EINVAL }
