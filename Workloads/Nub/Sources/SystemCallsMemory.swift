import CPU

// brk, mmap and their relatives.

/// mmap(2) flags, asm-generic/mman-common.h.
private enum MapFlags {
    static let shared: UInt64 = 1
    static let privateCopy: UInt64 = 2
    static let typeMask: UInt64 = 0xF
    static let sharedValidate: UInt64 = 3
    static let fixed: UInt64 = 0x10
    static let anonymous: UInt64 = 0x20
    static let fixedNoReplace: UInt64 = 0x10_0000
    static let populate: UInt64 = 0x8000
}

private func currentSpace() -> UnsafeMutablePointer<AddressSpace> {
    Scheduler.currentProcess.pointee.space.unsafelyUnwrapped
}

@c(systemCallBrk)
func systemCallBrk(_ wanted: UInt64) -> Int {
    let space = currentSpace()
    let old = space.pointee.breakEnd
    if wanted < space.pointee.breakStart || wanted > Layout.mapTop { return Int(old) }
    let oldEnd = pageCeiling(old)
    let newEnd = pageCeiling(wanted)
    if newEnd > oldEnd {
        guard space.pointee.isFree(oldEnd, newEnd) else { return Int(old) }
        let area = MemoryArea(
            start: oldEnd, end: newEnd, next: nil, protection: 3, isShared: false, node: nil, fileOffset: 0,
            fileBytes: 0)
        if !space.pointee.insert(area) { return Int(old) }
    } else if newEnd < oldEnd && !space.pointee.unmap(newEnd, oldEnd) {
        return Int(old)
    }
    space.pointee.breakEnd = wanted
    return Int(wanted)
}

/// Whether [address, address + bytes) is page-aligned user space that programs may map.
private func isMappable(_ address: UInt64, _ bytes: UInt64) -> Bool {
    address & 4095 == 0 && address >= Layout.userStart && UserMemory.isValid(address, bytes)
}

@c(systemCallMmap)
func systemCallMmap(
    _ hint: UInt64, _ length: UInt64, _ protection: UInt64, _ flags: UInt64, _ descriptor: Int32, _ offset: UInt64
) -> Int {
    let space = currentSpace()
    if length == 0 || offset & 4095 != 0 || protection > 7 { return -EINVAL }
    if length > Layout.mapTop { return -ENOMEM }
    let bytes = pageCeiling(length)
    var area = MemoryArea(
        start: 0, end: 0, next: nil, protection: UInt8(protection), isShared: false, node: nil, fileOffset: 0,
        fileBytes: 0)
    let type = flags & MapFlags.typeMask
    if type != MapFlags.shared && type != MapFlags.privateCopy && type != MapFlags.sharedValidate { return -EINVAL }
    area.isShared = type != MapFlags.privateCopy
    if flags & MapFlags.anonymous == 0 {
        guard let file = Scheduler.currentProcess.pointee.file(Int(descriptor)) else { return -EBADF }
        guard let node = file.pointee.node else { return -ENODEV }
        if node.pointee.kind == .device && node.pointee.device == .zero {
            // A private mapping of /dev/zero is anonymous memory.
        } else {
            guard node.pointee.kind == .file else { return -ENODEV }
            if !file.pointee.isReadable { return -EACCES }
            // Writes through a shared mapping would have to reach the file: not offered. Read-only ones are private.
            if area.isShared && protection & 2 != 0 { return -ENODEV }
            area.isShared = false
            area.node = node
            area.fileOffset = offset
            let size = pageCeiling(node.pointee.size)
            area.fileBytes = offset < size ? size &- offset : 0
            if area.fileBytes > bytes { area.fileBytes = bytes }
        }
    }
    var start = pageFloor(hint)
    if flags & (MapFlags.fixed | MapFlags.fixedNoReplace) != 0 {
        if hint & 4095 != 0 { return -EINVAL }
        if !isMappable(hint, bytes) { return -ENOMEM }
        if flags & MapFlags.fixedNoReplace != 0 {
            if !space.pointee.isFree(hint, hint &+ bytes) { return -EEXIST }
        } else if !space.pointee.unmap(hint, hint &+ bytes) {
            return -ENOMEM
        }
    } else if start == 0 || !isMappable(start, bytes) || !space.pointee.isFree(start, start &+ bytes) {
        guard let place = space.pointee.findFree(bytes) else { return -ENOMEM }
        start = place
    }
    area.start = start
    area.end = start &+ bytes
    if !space.pointee.insert(area) { return -ENOMEM }
    if flags & MapFlags.populate != 0 && protection != 0 { populate(space, start, start &+ bytes) }
    return Int(start)
}

/// MAP_POPULATE: as far as RAM reaches; what is left comes by faults.
private func populate(_ space: UnsafeMutablePointer<AddressSpace>, _ start: UInt64, _ end: UInt64) {
    var at = start
    while at < end {
        guard let area = space.pointee.area(at: at), let entry = space.pointee.entry(at: at) else { return }
        if entry.pointee.isEmpty
            && !space.pointee.populate(entry, at, area, write: area.pointee.isWritable)
        {
            return
        }
        at &+= pageBytes
    }
}

@c(systemCallMunmap)
func systemCallMunmap(_ address: UInt64, _ length: UInt64) -> Int {
    if length == 0 || length > Layout.userEnd || !isMappable(address, pageCeiling(length)) { return -EINVAL }
    return currentSpace().pointee.unmap(address, address &+ pageCeiling(length)) ? 0 : -ENOMEM
}

@c(systemCallMprotect)
func systemCallMprotect(_ address: UInt64, _ length: UInt64, _ protection: UInt64) -> Int {
    if address & 4095 != 0 || protection > 7 { return -EINVAL }
    if length == 0 { return 0 }
    if length > Layout.userEnd || !isMappable(address, pageCeiling(length)) { return -ENOMEM }
    return currentSpace().pointee.protect(address, address &+ pageCeiling(length), UInt8(protection))
}

/// MADV_DONTNEED of private anonymous memory drops the pages (programs rely on the zeros); other advice is accepted.
@c(systemCallMadvise)
func systemCallMadvise(_ address: UInt64, _ length: UInt64, _ advice: UInt32) -> Int {
    if address & 4095 != 0 || length > Layout.userEnd { return -EINVAL }
    if length == 0 || advice != 4 { return 0 }
    if !isMappable(address, pageCeiling(length)) { return -ENOMEM }
    currentSpace().pointee.discard(address, address &+ pageCeiling(length))
    return 0
}

/// Shrinks, grows in place, or moves when MREMAP_MAYMOVE allows it.
@c(systemCallMremap)
func systemCallMremap(_ address: UInt64, _ oldLength: UInt64, _ newLength: UInt64, _ flags: UInt64) -> Int {
    let space = currentSpace()
    if flags > 1 || newLength == 0 || oldLength == 0 || newLength > Layout.mapTop { return -EINVAL }
    if oldLength > Layout.mapTop || !isMappable(address, pageCeiling(oldLength)) { return -EINVAL }
    let old = pageCeiling(oldLength)
    let new = pageCeiling(newLength)
    guard let area = space.pointee.area(at: address), address &+ old <= area.pointee.end else { return -EFAULT }
    if new <= old {
        if new < old && !space.pointee.unmap(address &+ new, address &+ old) { return -ENOMEM }
        return Int(address)
    }
    if area.pointee.node != nil || area.pointee.isShared { return -ENOMEM }
    var grown = area.pointee
    grown.start = address &+ old
    grown.end = address &+ new
    if address &+ old == area.pointee.end && isMappable(grown.start, new &- old)
        && space.pointee.isFree(grown.start, grown.end)
    {
        return space.pointee.insert(grown) ? Int(address) : -ENOMEM
    }
    if flags & 1 == 0 { return -ENOMEM }
    guard let place = space.pointee.findFree(new) else { return -ENOMEM }
    grown.start = place
    grown.end = place &+ new
    if !space.pointee.insert(grown) { return -ENOMEM }
    if !space.pointee.movePages(from: address, to: place, bytes: old) || !space.pointee.unmap(address, address &+ old) {
        return -ENOMEM
    }
    return Int(place)
}
