import CPU

/// Results of `pageFault` for entry.S: 0 resumes the instruction, anything else goes on to `exception`.
private let resolved: Int32 = 0
private let unresolved: Int32 = 1

/// Error-code bits of #PF (SDM vol. 3A 4.7).
private let faultWasWrite: UInt64 = 1 << 1
private let faultWasFetch: UInt64 = 1 << 4

extension AddressSpace {
    /// Fills an empty entry: one page of zeros, of the file, or of the file's page cache. False when RAM is exhausted.
    mutating func populate(_ entry: PageTable, _ address: UInt64, _ area: AreaPointer, write: Bool) -> Bool {
        let flags = area.pointee.entryFlags | (area.pointee.isWritable ? PageTableEntry.writable : 0)
        guard let node = area.pointee.node else {
            guard let frame = physicalMemory.allocateZeroed() else { return false }
            set(entry, frame.address.rawValue | flags)
            return true
        }
        let offset = address &- area.pointee.start
        var bytes: UInt64 = 0
        if area.pointee.fileBytes > offset { bytes = area.pointee.fileBytes &- offset }
        if bytes >= pageBytes && !write && !area.pointee.isShared {
            return populateFromCache(entry, address, area, node)
        }
        guard let frame = physicalMemory.allocateZeroed() else { return false }
        if bytes > pageBytes { bytes = pageBytes }
        if bytes != 0 { node.pointee.copyOut(area.pointee.fileOffset &+ offset, frame.raw, bytes) }
        set(entry, frame.address.rawValue | flags)
        return true
    }

    /// Maps the page of the file read-only, and its neighbours in the same 64 KiB that cost no copying.
    private mutating func populateFromCache(
        _ entry: PageTable, _ address: UInt64, _ area: AreaPointer, _ node: UnsafeMutablePointer<Node>
    ) -> Bool {
        let flags = area.pointee.entryFlags
        let fileOffset = area.pointee.fileOffset &- area.pointee.start
        guard let page = node.pointee.mappablePage((fileOffset &+ address) >> 12, create: true) else { return false }
        set(entry, page | flags)
        var at = address & ~0xFFFF
        var end = at &+ 0x1_0000
        if at < area.pointee.start { at = area.pointee.start }
        let fileEnd = pageFloor(area.pointee.start &+ area.pointee.fileBytes)
        if end > fileEnd { end = fileEnd }
        while at < end {
            let neighbour = entry + (Int(truncatingIfNeeded: at >> 12) &- Int(truncatingIfNeeded: address >> 12))
            if neighbour.pointee.isEmpty,
                let page = node.pointee.mappablePage((fileOffset &+ at) >> 12, create: false)
            {
                set(neighbour, page | flags)
            }
            at &+= pageBytes
        }
        return true
    }

    /// A write to a present page that is mapped read-only in a writable area. False when RAM is exhausted.
    mutating func breakSharing(_ entry: PageTable, _ address: UInt64, _ area: AreaPointer) -> Bool {
        let old = entry.pointee
        let flags = area.pointee.entryFlags | PageTableEntry.writable
        if area.pointee.isShared || (!old.isBorrowed && physicalMemory.references(old.frame) == 1) {
            entry.pointee.rawValue = old.rawValue | flags
        } else {
            guard let frame = physicalMemory.allocate() else { return false }
            memory_copy_page(frame.raw, old.address.raw)
            entry.pointee.rawValue = frame.address.rawValue | flags
            if !old.isBorrowed { physicalMemory.release(old.frame) }
        }
        cpu_invlpg(address)
        return true
    }
}

/// #PF, called by entry.S with CR2 and the error code.
@c(pageFault)
func pageFault(_ address: UInt64, _ errorCode: UInt64) -> Int32 {
    guard address < Layout.userEnd, let process = Scheduler.current, let space = process.pointee.space else {
        return unresolved
    }
    statistics.pageFaults &+= 1
    guard let area = space.pointee.area(at: address), area.pointee.isReadable else { return unresolved }
    let write = errorCode & faultWasWrite != 0
    if write && !area.pointee.isWritable { return unresolved }
    if errorCode & faultWasFetch != 0 && !area.pointee.isExecutable { return unresolved }
    let page = pageFloor(address)
    guard let entry = space.pointee.entry(at: page) else { return outOfMemory(process) }
    if entry.pointee.isEmpty {
        return space.pointee.populate(entry, page, area, write: write) ? resolved : outOfMemory(process)
    }
    if write && !entry.pointee.isWritable {
        statistics.copyOnWriteFaults &+= 1
        return space.pointee.breakSharing(entry, page, area) ? resolved : outOfMemory(process)
    }
    // A right that mprotect granted without touching the entry, or a translation that is out of date.
    entry.pointee.rawValue |= PageTableEntry.present | PageTableEntry.user
    cpu_invlpg(page)
    return resolved
}

/// The process gets SIGKILL when it is back in ring 3 or, from a copy in ring 0, the call fails with EFAULT.
@inline(never)
private func outOfMemory(_ process: ProcessPointer) -> Int32 {
    process.pointee.outOfMemory = true
    return unresolved
}
