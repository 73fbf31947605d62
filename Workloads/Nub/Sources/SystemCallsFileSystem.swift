import CPU

// The file system as a whole, extended attributes, advice: what tells programs what this tree cannot do.

/// struct statfs, 120 bytes, of a tmpfs (TMPFS_MAGIC, linux/magic.h) that has all of RAM.
private func storeStatistics(at address: UInt64) -> Int {
    var words = InlineArray<15, UInt64>(repeating: 0)
    words[0] = 0x0102_1994
    words[1] = pageBytes
    words[2] = physicalMemory.totalFrames
    words[3] = physicalMemory.freeFrames
    words[4] = physicalMemory.freeFrames
    words[8] = 255
    words[9] = pageBytes
    return UserMemory.store(words, at: address) ? 0 : -EFAULT
}

/// 0 where the path leads somewhere, or a negative error number.
private func find(_ path: UInt64) -> Int {
    let buffer = kernel_path_buffer().unsafelyUnwrapped
    let length = UserMemory.copyPath(path, buffer)
    if length < 0 { return length }
    let place = fileTree.look(up: buffer, length, from: Scheduler.currentProcess.pointee.workingDirectory)
    return place.node == nil ? place.error : 0
}

private func check(_ descriptor: Int32) -> Int {
    Scheduler.currentProcess.pointee.file(Int(descriptor)) == nil ? -EBADF : 0
}

@c(systemCallStatfs)
func systemCallStatfs(_ path: UInt64, _ result: UInt64) -> Int {
    let error = find(path)
    return error == 0 ? storeStatistics(at: result) : error
}

@c(systemCallFstatfs)
func systemCallFstatfs(_ descriptor: Int32, _ result: UInt64) -> Int {
    let error = check(descriptor)
    return error == 0 ? storeStatistics(at: result) : error
}

/// Extended attributes are not supported, which Linux says in this way of file systems without them.
@c(systemCallExtendedAttribute)
func systemCallExtendedAttribute(_ path: UInt64) -> Int {
    let error = find(path)
    return error == 0 ? -EOPNOTSUPP : error
}

@c(systemCallDescriptorAttribute)
func systemCallDescriptorAttribute(_ descriptor: Int32) -> Int {
    let error = check(descriptor)
    return error == 0 ? -EOPNOTSUPP : error
}

/// Everything is in RAM already.
@c(systemCallFadvise)
func systemCallFadvise(_ descriptor: Int32) -> Int {
    guard let file = Scheduler.currentProcess.pointee.file(Int(descriptor)) else { return -EBADF }
    return file.pointee.pipe == nil ? 0 : -ESPIPE
}

/// sync, msync and the mlock family: memory and files are as lasting as they can be, and never leave RAM.
@c(systemCallNothingToDo)
func systemCallNothingToDo() -> Int { 0 }

/// Makes the file as long as the range; other modes are not supported. Pages come when they are written.
@c(systemCallFallocate)
func systemCallFallocate(_ descriptor: Int32, _ mode: UInt32, _ offset: Int64, _ length: Int64) -> Int {
    guard let file = Scheduler.currentProcess.pointee.file(Int(descriptor)) else { return -EBADF }
    guard let node = file.pointee.node, node.pointee.kind == .file else { return -ENODEV }
    if !file.pointee.isWritable { return -EBADF }
    if mode != 0 { return -EOPNOTSUPP }
    if offset < 0 || length <= 0 { return -EINVAL }
    let (end, overflow) = UInt64(offset).addingReportingOverflow(UInt64(length))
    if overflow || end > Node.maximumBytes { return -EFBIG }
    if end > node.pointee.size { node.pointee.truncate(end) }
    return 0
}
