import CPU

// Reading, writing and descriptors.

@inline(__always)
private func currentFile(_ descriptor: Int32) -> OpenFilePointer? {
    Scheduler.currentProcess.pointee.file(Int(descriptor))
}

@c(systemCallRead)
func systemCallRead(_ descriptor: Int32, _ buffer: UInt64, _ bytes: UInt64) -> Int {
    guard let file = currentFile(descriptor) else { return -EBADF }
    return file.pointee.read(buffer, bytes, at: nil)
}

@c(systemCallWrite)
func systemCallWrite(_ descriptor: Int32, _ buffer: UInt64, _ bytes: UInt64) -> Int {
    guard let file = currentFile(descriptor) else { return -EBADF }
    return file.pointee.write(buffer, bytes, at: nil)
}

@c(systemCallPread)
func systemCallPread(_ descriptor: Int32, _ buffer: UInt64, _ bytes: UInt64, _ offset: Int64) -> Int {
    guard let file = currentFile(descriptor) else { return -EBADF }
    if offset < 0 { return -EINVAL }
    return file.pointee.read(buffer, bytes, at: UInt64(offset))
}

@c(systemCallPwrite)
func systemCallPwrite(_ descriptor: Int32, _ buffer: UInt64, _ bytes: UInt64, _ offset: Int64) -> Int {
    guard let file = currentFile(descriptor) else { return -EBADF }
    if offset < 0 { return -EINVAL }
    return file.pointee.write(buffer, bytes, at: UInt64(offset))
}

/// Runs `transfer` over an iovec array; stops at the first short or failed piece.
private func forEachVector(_ vectors: UInt64, _ count: UInt64, _ transfer: (UInt64, UInt64) -> Int) -> Int {
    if count > 1024 { return -EINVAL }
    var done = 0
    for index in 0..<count {
        var vector = (UInt64(0), UInt64(0))
        if !UserMemory.load(&vector, from: vectors &+ index &* 16) { return done > 0 ? done : -EFAULT }
        if vector.1 > UInt64(Int64.max) { return done > 0 ? done : -EINVAL }
        if vector.1 == 0 { continue }
        let moved = transfer(vector.0, vector.1)
        if moved < 0 { return done > 0 ? done : moved }
        done += moved
        if UInt64(moved) < vector.1 { break }
    }
    return done
}

@c(systemCallReadv)
func systemCallReadv(_ descriptor: Int32, _ vectors: UInt64, _ count: UInt64) -> Int {
    guard let file = currentFile(descriptor) else { return -EBADF }
    return forEachVector(vectors, count) { file.pointee.read($0, $1, at: nil) }
}

@c(systemCallWritev)
func systemCallWritev(_ descriptor: Int32, _ vectors: UInt64, _ count: UInt64) -> Int {
    guard let file = currentFile(descriptor) else { return -EBADF }
    return forEachVector(vectors, count) { file.pointee.write($0, $1, at: nil) }
}

/// Runs `transfer` at the offsets of consecutive pieces.
private func forEachVector(
    _ vectors: UInt64, _ count: UInt64, at offset: Int64, _ transfer: (UInt64, UInt64, UInt64) -> Int
)
    -> Int
{
    if offset < 0 { return -EINVAL }
    var at = UInt64(offset)
    return forEachVector(vectors, count) { address, bytes in
        let moved = transfer(address, bytes, at)
        if moved > 0 { at &+= UInt64(moved) }
        return moved
    }
}

@c(systemCallPreadv)
func systemCallPreadv(_ descriptor: Int32, _ vectors: UInt64, _ count: UInt64, _ offset: Int64) -> Int {
    guard let file = currentFile(descriptor) else { return -EBADF }
    return forEachVector(vectors, count, at: offset) { file.pointee.read($0, $1, at: $2) }
}

@c(systemCallPwritev)
func systemCallPwritev(_ descriptor: Int32, _ vectors: UInt64, _ count: UInt64, _ offset: Int64) -> Int {
    guard let file = currentFile(descriptor) else { return -EBADF }
    return forEachVector(vectors, count, at: offset) { file.pointee.write($0, $1, at: $2) }
}

/// Not offered for any pair of files, which the man page allows: callers go on with read and write.
@c(systemCallSendfile)
func systemCallSendfile(_ output: Int32, _ input: Int32) -> Int {
    currentFile(input) == nil || currentFile(output) == nil ? -EBADF : -EINVAL
}

@c(systemCallLseek)
func systemCallLseek(_ descriptor: Int32, _ offset: Int64, _ whence: UInt32) -> Int {
    guard let file = currentFile(descriptor) else { return -EBADF }
    guard let node = file.pointee.node else { return -ESPIPE }
    let base: Int64
    switch whence {
    case 0: base = 0
    case 1: base = Int64(file.pointee.offset)
    case 2: base = Int64(node.pointee.size)
    default: return -EINVAL
    }
    let (position, overflow) = base.addingReportingOverflow(offset)
    if overflow || position < 0 { return -EINVAL }
    file.pointee.offset = UInt64(position)
    return Int(position)
}

@c(systemCallClose)
func systemCallClose(_ descriptor: Int32) -> Int {
    let process = Scheduler.currentProcess
    guard process.pointee.file(Int(descriptor)) != nil, let file = process.pointee.take(Int(descriptor)) else {
        return -EBADF
    }
    OpenFile.release(file)
    return 0
}

/// CLOSE_RANGE_CLOEXEC (4) marks instead of closing; CLOSE_RANGE_UNSHARE (2) means nothing without threads.
@c(systemCallCloseRange)
func systemCallCloseRange(_ first: UInt32, _ last: UInt32, _ flags: UInt32) -> Int {
    if first > last || flags & ~6 != 0 { return -EINVAL }
    if first >= UInt32(Process.maximumFiles) { return 0 }
    let process = Scheduler.currentProcess
    let above: UInt64 = last >= 63 ? .max : (2 << UInt64(last)) &- 1
    let mask = above & ~((1 << UInt64(first)) &- 1)
    if flags & 4 != 0 {
        process.pointee.closeOnExec |= mask & process.pointee.openFiles
    } else {
        Process.closeFiles(process, mask: mask)
    }
    return 0
}

// MARK: Duplicates

private func duplicate(_ descriptor: Int32, from minimum: Int, closeOnExec: Bool) -> Int {
    let process = Scheduler.currentProcess
    guard let file = process.pointee.file(Int(descriptor)) else { return -EBADF }
    let new = process.pointee.freeDescriptor(from: minimum)
    if new < 0 { return new }
    file.pointee.references &+= 1
    process.pointee.put(file, at: new, closeOnExec: closeOnExec)
    return new
}

@c(systemCallDup)
func systemCallDup(_ descriptor: Int32) -> Int { duplicate(descriptor, from: 0, closeOnExec: false) }

private func duplicate(_ old: Int32, to new: Int32, closeOnExec: Bool) -> Int {
    let process = Scheduler.currentProcess
    guard let file = process.pointee.file(Int(old)) else { return -EBADF }
    guard new >= 0, Int(new) < Process.maximumFiles else { return -EBADF }
    file.pointee.references &+= 1
    if let replaced = process.pointee.take(Int(new)) { OpenFile.release(replaced) }
    process.pointee.put(file, at: Int(new), closeOnExec: closeOnExec)
    return Int(new)
}

@c(systemCallDup2)
func systemCallDup2(_ old: Int32, _ new: Int32) -> Int {
    if old == new { return currentFile(old) == nil ? -EBADF : Int(new) }
    return duplicate(old, to: new, closeOnExec: false)
}

@c(systemCallDup3)
func systemCallDup3(_ old: Int32, _ new: Int32, _ flags: UInt32) -> Int {
    if old == new || flags & ~OpenFlags.closeOnExec != 0 { return -EINVAL }
    return duplicate(old, to: new, closeOnExec: flags != 0)
}

@c(systemCallFcntl)
func systemCallFcntl(_ descriptor: Int32, _ command: UInt32, _ argument: UInt64) -> Int {
    let process = Scheduler.currentProcess
    guard let file = process.pointee.file(Int(descriptor)) else { return -EBADF }
    switch command {
    case 0, 1030:  // F_DUPFD, F_DUPFD_CLOEXEC
        if argument >= UInt64(Process.maximumFiles) { return -EINVAL }
        return duplicate(descriptor, from: Int(argument), closeOnExec: command != 0)
    case 1: return Int(process.pointee.closeOnExec >> UInt64(descriptor) & 1)
    case 2:
        process.pointee.setCloseOnExec(Int(descriptor), argument & 1 != 0)
        return 0
    case 3: return Int(file.pointee.flags)
    case 4:
        let settable = OpenFlags.append | OpenFlags.nonblocking
        file.pointee.flags = file.pointee.flags & ~settable | UInt32(truncatingIfNeeded: argument) & settable
        return 0
    case 5, 6, 7: return 0  // record locks: one machine, nobody to lock out
    case 1031, 1032: return file.pointee.pipe == nil ? -EBADF : Int(Pipe.capacity)  // F_SETPIPE_SZ, F_GETPIPE_SZ
    default: return -EINVAL
    }
}

@c(systemCallFlock)
func systemCallFlock(_ descriptor: Int32) -> Int { currentFile(descriptor) == nil ? -EBADF : 0 }

@c(systemCallFsync)
func systemCallFsync(_ descriptor: Int32) -> Int { currentFile(descriptor) == nil ? -EBADF : 0 }

/// No terminals: TCGETS says so (isatty), FIONREAD is known for pipes and files.
@c(systemCallIoctl)
func systemCallIoctl(_ descriptor: Int32, _ request: UInt32, _ argument: UInt64) -> Int {
    guard let file = currentFile(descriptor) else { return -EBADF }
    guard request == 0x541B else { return -ENOTTY }
    var available: UInt64 = 0
    if let pipe = file.pointee.pipe {
        available = pipe.pointee.available
    } else if let node = file.pointee.node, node.pointee.size > file.pointee.offset {
        available = node.pointee.size &- file.pointee.offset
    }
    return UserMemory.store(Int32(truncatingIfNeeded: available), at: argument) ? 0 : -EFAULT
}

// MARK: Pipes

@c(systemCallPipe2)
func systemCallPipe2(_ result: UInt64, _ flags: UInt32) -> Int {
    if flags & ~(OpenFlags.closeOnExec | OpenFlags.nonblocking) != 0 { return -EINVAL }
    let process = Scheduler.currentProcess
    guard let pipe = Pipe.make() else { return -ENOMEM }
    let mode = flags & OpenFlags.nonblocking
    guard let reader = OpenFile.makePipeEnd(pipe, .pipeReader, flags: mode) else {
        kernelHeap.destroy(pipe)
        return -ENOMEM
    }
    guard let writer = OpenFile.makePipeEnd(pipe, .pipeWriter, flags: mode | OpenFlags.writeOnly) else {
        pipe.pointee.writers = 0
        OpenFile.release(reader)
        return -ENOMEM
    }
    let close = flags & OpenFlags.closeOnExec != 0
    let first = process.pointee.install(reader, closeOnExec: close)
    if first < 0 {
        OpenFile.release(writer)
        return first
    }
    let second = process.pointee.install(writer, closeOnExec: close)
    if second < 0 {
        _ = systemCallClose(Int32(first))
        return second
    }
    if !UserMemory.store((Int32(first), Int32(second)), at: result) {
        _ = systemCallClose(Int32(first))
        _ = systemCallClose(Int32(second))
        return -EFAULT
    }
    return 0
}

@c(systemCallPipe)
func systemCallPipe(_ result: UInt64) -> Int { systemCallPipe2(result, 0) }

// MARK: Waiting for several

private enum PollEvents {
    static let input: UInt16 = 1
    static let output: UInt16 = 4
    static let error: UInt16 = 8
    static let hangUp: UInt16 = 16
    static let invalid: UInt16 = 32
}

/// What is ready on a descriptor: bits of `PollEvents`.
private func readyEvents(_ descriptor: Int32) -> UInt16 {
    guard let file = currentFile(descriptor) else { return PollEvents.invalid }
    guard let pipe = file.pointee.pipe else { return PollEvents.input | PollEvents.output }
    if file.pointee.kind == .pipeReader {
        var events: UInt16 = pipe.pointee.available > 0 ? PollEvents.input : 0
        if pipe.pointee.writers == 0 { events |= PollEvents.hangUp }
        return events
    }
    if pipe.pointee.readers == 0 { return PollEvents.error | PollEvents.output }
    return pipe.pointee.space >= Pipe.atomicBytes ? PollEvents.output : 0
}

/// Repeats `scan` until it finds something, the time is over (nil: never) or a signal comes.
private func waitUntilReady(_ timeout: UInt64?, _ scan: () -> Int) -> Int {
    let end = timeout.map { clock.monotonicNanoseconds &+ $0 }
    while true {
        let ready = scan()
        if ready != 0 { return ready }
        if let end, clock.monotonicNanoseconds >= end { return 0 }
        if !Scheduler.sleep(on: Pipe.pollChannel, until: end ?? 0) { return -EINTR }
    }
}

private func poll(_ list: UInt64, _ count: UInt64, _ timeout: UInt64?) -> Int {
    if count > 1024 { return -EINVAL }
    return waitUntilReady(timeout) {
        var ready = 0
        for index in 0..<count {
            var entry = (Int32(0), UInt16(0), UInt16(0))
            let address = list &+ index &* 8
            if !UserMemory.load(&entry, from: address) { return -EFAULT }
            entry.2 = 0
            if entry.0 >= 0 {
                let always = PollEvents.error | PollEvents.hangUp | PollEvents.invalid
                entry.2 = readyEvents(entry.0) & (entry.1 | always)
            }
            if entry.2 != 0 { ready += 1 }
            if !UserMemory.store(entry, at: address) { return -EFAULT }
        }
        return ready
    }
}

@c(systemCallPoll)
func systemCallPoll(_ list: UInt64, _ count: UInt32, _ milliseconds: Int32) -> Int {
    poll(list, UInt64(count), milliseconds < 0 ? nil : UInt64(milliseconds) &* 1_000_000)
}

@c(systemCallPpoll)
func systemCallPpoll(_ list: UInt64, _ count: UInt32, _ timeout: UInt64, _ mask: UInt64, _ maskBytes: UInt64) -> Int {
    var time = TimeValue()
    if timeout != 0 && !UserMemory.load(&time, from: timeout) { return -EFAULT }
    guard let nanoseconds = time.nanoseconds(unit: 1) else { return -EINVAL }
    let begin = clock.monotonicNanoseconds
    let result = withSignalMask(mask, maskBytes) { poll(list, UInt64(count), timeout == 0 ? nil : nanoseconds) }
    if timeout != 0 { storeRest(of: nanoseconds, since: begin, at: timeout, unit: 1) }
    return result
}

/// Calls `body` with the set of blocked signals at `mask`, if it is not 0, in place of the process's own.
private func withSignalMask(_ mask: UInt64, _ maskBytes: UInt64, _ body: () -> Int) -> Int {
    if mask == 0 { return body() }
    if maskBytes != 8 { return -EINVAL }
    guard let set = UserMemory.load64(mask) else { return -EFAULT }
    let process = Scheduler.currentProcess
    let own = process.pointee.blockedSignals
    Signals.setBlocked(process, set)
    let result = body()
    if result == -EINTR {
        // The handler runs with the other set; the frame, or who delivers, gives the own one back.
        process.pointee.savedBlockedSignals = own
        process.pointee.restoresBlockedSignals = true
    } else {
        Signals.setBlocked(process, own)
    }
    return result
}

/// What Linux leaves in the timeout of select, pselect6 and ppoll: the time that was left. Not being able to is no error.
private func storeRest(of span: UInt64, since begin: UInt64, at address: UInt64, unit: UInt64) {
    let elapsed = clock.monotonicNanoseconds &- begin
    let rest = TimeValue(nanoseconds: span > elapsed ? span &- elapsed : 0, unit: unit)
    _ = UserMemory.store(rest, at: address)
}

@c(systemCallSelect)
func systemCallSelect(_ count: Int32, _ readers: UInt64, _ writers: UInt64, _ errors: UInt64, _ timeout: UInt64) -> Int
{
    var time = TimeValue()
    if timeout != 0 && !UserMemory.load(&time, from: timeout) { return -EFAULT }
    guard let nanoseconds = time.nanoseconds(unit: 1000) else { return -EINVAL }
    let begin = clock.monotonicNanoseconds
    let result = select(count, readers, writers, errors, timeout == 0 ? nil : nanoseconds)
    if timeout != 0 { storeRest(of: nanoseconds, since: begin, at: timeout, unit: 1000) }
    return result
}

/// `mask` points to a signal set and its length.
@c(systemCallPselect6)
func systemCallPselect6(
    _ count: Int32, _ readers: UInt64, _ writers: UInt64, _ errors: UInt64, _ timeout: UInt64, _ mask: UInt64
) -> Int {
    var time = TimeValue()
    var signals = (UInt64(0), UInt64(0))
    if timeout != 0 && !UserMemory.load(&time, from: timeout) { return -EFAULT }
    if mask != 0 && !UserMemory.load(&signals, from: mask) { return -EFAULT }
    guard let nanoseconds = time.nanoseconds(unit: 1) else { return -EINVAL }
    let begin = clock.monotonicNanoseconds
    let result = withSignalMask(signals.0, signals.1) {
        select(count, readers, writers, errors, timeout == 0 ? nil : nanoseconds)
    }
    if timeout != 0 { storeRest(of: nanoseconds, since: begin, at: timeout, unit: 1) }
    return result
}

/// Sets of up to 64 descriptors, which is all there can be.
private func select(_ count: Int32, _ readers: UInt64, _ writers: UInt64, _ errors: UInt64, _ wait: UInt64?) -> Int {
    if count < 0 { return -EINVAL }
    let mask: UInt64 = count >= 64 ? .max : (1 << UInt64(count)) &- 1
    var readSet: UInt64 = 0
    var writeSet: UInt64 = 0
    if mask != 0 && readers != 0 && !UserMemory.load(&readSet, from: readers) { return -EFAULT }
    if mask != 0 && writers != 0 && !UserMemory.load(&writeSet, from: writers) { return -EFAULT }
    readSet &= mask
    writeSet &= mask
    var readReady: UInt64 = 0
    var writeReady: UInt64 = 0
    let result = waitUntilReady(wait) {
        readReady = 0
        writeReady = 0
        var ready = 0
        for descriptor in 0..<Process.maximumFiles {
            let bit = UInt64(1) << UInt64(descriptor)
            if (readSet | writeSet) & bit == 0 { continue }
            let events = readyEvents(Int32(descriptor))
            if events & PollEvents.invalid != 0 { return -EBADF }
            if readSet & bit != 0 && events & (PollEvents.input | PollEvents.hangUp) != 0 {
                readReady |= bit
                ready += 1
            }
            if writeSet & bit != 0 && events & (PollEvents.output | PollEvents.error) != 0 {
                writeReady |= bit
                ready += 1
            }
        }
        return ready
    }
    if result < 0 || mask == 0 { return result }
    if readers != 0 && !UserMemory.store(readReady, at: readers) { return -EFAULT }
    if writers != 0 && !UserMemory.store(writeReady, at: writers) { return -EFAULT }
    if errors != 0 && !UserMemory.store(UInt64(0), at: errors) { return -EFAULT }
    return result
}
