import CPU

/// One mapping of a process: [start, end) with one protection and one source.
struct MemoryArea {
    var start: UInt64
    var end: UInt64
    var next: UnsafeMutablePointer<MemoryArea>?
    /// PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4.
    var protection: UInt8
    var isShared: Bool
    /// Source of the first `fileBytes` bytes; the rest is zeros.
    var node: UnsafeMutablePointer<Node>?
    var fileOffset: UInt64
    var fileBytes: UInt64

    @inline(__always)
    var isReadable: Bool { protection != 0 }
    @inline(__always)
    var isWritable: Bool { protection & 2 != 0 }
    @inline(__always)
    var isExecutable: Bool { protection & 4 != 0 }

    /// Flags of a present entry in this area. Private pages become writable only when they have one owner.
    @inline(__always)
    var entryFlags: UInt64 {
        PageTableEntry.present | PageTableEntry.user | (isExecutable ? 0 : PageTableEntry.noExecute)
    }
}

typealias AreaPointer = UnsafeMutablePointer<MemoryArea>

/// The user half of an address space: areas in ascending order and the page tables.
///
/// Shared by a process and its vfork children; `references` counts them.
struct AddressSpace {
    var root: Frame
    var references: UInt32
    var areaCount: UInt32
    var areas: AreaPointer?
    /// Area of the last look-up.
    var lastArea: AreaPointer?
    var breakStart: UInt64
    var breakEnd: UInt64
    /// Page table of the last fault and which 2 MiB it maps; `lastTableTag` is .max when there is none.
    var lastTable: UInt64
    var lastTableTag: UInt64

    static let maximumAreas: UInt32 = 8192

    static func make() -> UnsafeMutablePointer<AddressSpace>? {
        guard let space = kernelHeap.make(AddressSpace.self) else { return nil }
        guard let root = physicalMemory.allocateTable() else {
            kernelHeap.destroy(space)
            return nil
        }
        // The kernel half never changes after boot: two entries (boot.S).
        let kernel = kernel_boot_pml4().assumingMemoryBound(to: UInt64.self)
        root.words[496] = kernel[496]
        root.words[511] = kernel[511]
        space.pointee = AddressSpace(
            root: root, references: 1, areaCount: 0, areas: nil, lastArea: nil, breakStart: 0, breakEnd: 0,
            lastTable: 0, lastTableTag: .max)
        return space
    }

    // MARK: Areas

    @inline(__always)
    mutating func area(at address: UInt64) -> AreaPointer? {
        if let area = lastArea, area.pointee.start <= address, address < area.pointee.end { return area }
        return searchArea(at: address)
    }

    private mutating func searchArea(at address: UInt64) -> AreaPointer? {
        var candidate = areas
        while let area = candidate, area.pointee.start <= address {
            if address < area.pointee.end {
                lastArea = area
                return area
            }
            candidate = area.pointee.next
        }
        return nil
    }

    /// Whether no area touches [start, end).
    func isFree(_ start: UInt64, _ end: UInt64) -> Bool {
        var candidate = areas
        while let area = candidate, area.pointee.start < end {
            if area.pointee.end > start { return false }
            candidate = area.pointee.next
        }
        return true
    }

    /// Highest free place of `bytes` below `Layout.mapTop`, or nil.
    func findFree(_ bytes: UInt64) -> UInt64? {
        var best: UInt64?
        var gapStart = Layout.userStart
        var candidate = areas
        while true {
            var gapEnd = candidate?.pointee.start ?? Layout.mapTop
            if gapEnd > Layout.mapTop { gapEnd = Layout.mapTop }
            if gapEnd > gapStart && gapEnd &- gapStart >= bytes { best = gapEnd &- bytes }
            guard let area = candidate else { return best }
            gapStart = area.pointee.end
            candidate = area.pointee.next
        }
    }

    /// Adds an area where nothing is; merges it with an anonymous neighbour of the same kind.
    mutating func insert(_ new: MemoryArea) -> Bool {
        var previous: AreaPointer?
        var following = areas
        while let area = following, area.pointee.start < new.start {
            previous = area
            following = area.pointee.next
        }
        if new.node == nil, !new.isShared {
            if let area = previous, area.pointee.end == new.start, area.pointee.node == nil, !area.pointee.isShared,
                area.pointee.protection == new.protection
            {
                area.pointee.end = new.end
                return true
            }
            if let area = following, area.pointee.start == new.end, area.pointee.node == nil,
                !area.pointee.isShared, area.pointee.protection == new.protection
            {
                area.pointee.start = new.start
                return true
            }
        }
        guard areaCount < AddressSpace.maximumAreas, let area = kernelHeap.make(MemoryArea.self) else { return false }
        area.pointee = new
        area.pointee.next = following
        if let previous { previous.pointee.next = area } else { areas = area }
        if let node = new.node { node.pointee.references &+= 1 }
        areaCount &+= 1
        return true
    }

    /// Makes `address` an area border where it lies inside an area.
    private mutating func split(_ area: AreaPointer, at address: UInt64) -> Bool {
        guard areaCount < AddressSpace.maximumAreas, let upper = kernelHeap.make(MemoryArea.self) else { return false }
        let offset = address &- area.pointee.start
        upper.pointee = area.pointee
        upper.pointee.start = address
        if area.pointee.node != nil {
            upper.pointee.fileOffset = area.pointee.fileOffset &+ offset
            upper.pointee.fileBytes = area.pointee.fileBytes > offset ? area.pointee.fileBytes &- offset : 0
            if area.pointee.fileBytes > offset { area.pointee.fileBytes = offset }
            area.pointee.node.unsafelyUnwrapped.pointee.references &+= 1
        }
        area.pointee.end = address
        area.pointee.next = upper
        areaCount &+= 1
        return true
    }

    private mutating func splitBorders(_ start: UInt64, _ end: UInt64) -> Bool {
        if let area = area(at: start), area.pointee.start < start, !split(area, at: start) { return false }
        if let area = area(at: end), area.pointee.start < end, !split(area, at: end) { return false }
        return true
    }

    /// Removes everything in [start, end). False when memory for splitting an area ran out (then nothing changed that
    /// matters).
    mutating func unmap(_ start: UInt64, _ end: UInt64) -> Bool {
        if isFree(start, end) { return true }
        guard splitBorders(start, end) else { return false }
        lastArea = nil
        var previous: AreaPointer?
        var candidate = areas
        while let area = candidate, area.pointee.start < end {
            candidate = area.pointee.next
            if area.pointee.start >= start {
                releasePages(area.pointee.start, area.pointee.end)
                if let previous { previous.pointee.next = candidate } else { areas = candidate }
                destroy(area)
            } else {
                previous = area
            }
        }
        flush(start, end)
        return true
    }

    private mutating func destroy(_ area: AreaPointer) {
        if let node = area.pointee.node { Node.release(node) }
        kernelHeap.destroy(area)
        areaCount &-= 1
    }

    /// 0 or a negative error number.
    mutating func protect(_ start: UInt64, _ end: UInt64, _ protection: UInt8) -> Int {
        var at = start
        var candidate = areas
        while let area = candidate, at < end {
            if area.pointee.end > at {
                if area.pointee.start > at { return -ENOMEM }
                at = area.pointee.end
            }
            candidate = area.pointee.next
        }
        if at < end { return -ENOMEM }
        guard splitBorders(start, end) else { return -ENOMEM }
        candidate = areas
        while let area = candidate, area.pointee.start < end {
            if area.pointee.start >= start, area.pointee.protection != protection {
                area.pointee.protection = protection
                protectPages(area)
            }
            candidate = area.pointee.next
        }
        flush(start, end)
        return 0
    }

    // MARK: Page tables

    /// The entry for `address`, with its tables made as needed; nil when RAM is exhausted.
    @inline(__always)
    mutating func entry(at address: UInt64) -> PageTable? {
        if address >> 21 == lastTableTag {
            return pointer(lastTable &+ (address >> 9) & 0xFF8, as: PageTableEntry.self)
        }
        return walk(address)
    }

    @inline(never)
    private mutating func walk(_ address: UInt64) -> PageTable? {
        var frame = root
        var level: UInt64 = 4
        while level > 1 {
            let entry = frame.words + tableIndex(address, level: level)
            if entry.pointee == 0 {
                guard let table = physicalMemory.allocateTable() else { return nil }
                entry.pointee =
                    table.address.rawValue | PageTableEntry.present | PageTableEntry.writable | PageTableEntry.user
                physicalMemory.addLiveEntries(1, to: frame)
                frame = table
            } else {
                frame = PageTableEntry(rawValue: entry.pointee).frame
            }
            level &-= 1
        }
        lastTable = frame.address.linear
        lastTableTag = address >> 21
        return pointer(lastTable &+ (address >> 9) & 0xFF8, as: PageTableEntry.self)
    }

    /// The entry for `address` when its tables exist.
    func existingEntry(at address: UInt64) -> PageTable? {
        guard let table = existingTable(address) else { return nil }
        return pointer(table.address.linear &+ (address >> 9) & 0xFF8, as: PageTableEntry.self)
    }

    private func existingTable(_ address: UInt64) -> Frame? {
        var frame = root
        var level: UInt64 = 4
        while level > 1 {
            let entry = frame.words[tableIndex(address, level: level)]
            if entry == 0 { return nil }
            frame = PageTableEntry(rawValue: entry).frame
            level &-= 1
        }
        return frame
    }

    /// First address at or after `address` that may have a page table, stepping over absent upper tables.
    private func skipAbsent(_ address: UInt64) -> UInt64 {
        var frame = root
        var level: UInt64 = 4
        while level > 1 {
            let entry = frame.words[tableIndex(address, level: level)]
            let span = UInt64(1) << (3 &+ 9 &* level)
            if entry == 0 { return (address & ~(span &- 1)) &+ span }
            frame = PageTableEntry(rawValue: entry).frame
            level &-= 1
        }
        return address
    }

    /// Stores a mapping into an empty entry.
    @inline(__always)
    func set(_ entry: PageTable, _ value: UInt64) {
        if entry.pointee.rawValue == 0 {
            let table = Frame(containing: PhysicalAddress(addressOf(entry) &- Layout.physicalMap))
            physicalMemory.addLiveEntries(1, to: table)
        }
        entry.pointee.rawValue = value
    }

    /// Calls `body` with each entry in use in [start, end) and its address.
    @inline(__always)
    private func forEachEntry(_ start: UInt64, _ end: UInt64, _ body: (PageTable, UInt64) -> Void) {
        var at = start
        while at < end {
            guard let table = existingTable(at) else {
                at = skipAbsent(at)
                continue
            }
            let base = at & ~0x1F_FFFF
            var tableEnd = base &+ 0x20_0000
            if tableEnd > end { tableEnd = end }
            let last = (tableEnd &- base) >> 12
            var index = (at &- base) >> 12
            while true {
                index = memory_scan_nonzero(table.words, index, last)
                if index >= last { break }
                body(pointer(table.address.linear &+ index &* 8), base &+ index << 12)
                index &+= 1
            }
            at = base &+ 0x20_0000
        }
    }

    /// Drops the pages of [start, end) and the tables that become empty.
    mutating func releasePages(_ start: UInt64, _ end: UInt64) {
        var at = start
        while at < end {
            guard let table = existingTable(at) else {
                at = skipAbsent(at)
                continue
            }
            let base = at & ~0x1F_FFFF
            var tableEnd = base &+ 0x20_0000
            if tableEnd > end { tableEnd = end }
            let last = (tableEnd &- base) >> 12
            var index = (at &- base) >> 12
            let words = table.words
            var live = physicalMemory.liveEntries(table)
            while live != 0 && index < last {
                let entry = PageTableEntry(rawValue: words[Int(index)])
                if entry.isEmpty {
                    index = memory_scan_nonzero(words, index, last)
                    continue
                }
                if !entry.isBorrowed { physicalMemory.release(entry.frame) }
                words[Int(index)] = 0
                live &-= 1
                index &+= 1
            }
            physicalMemory.addLiveEntries(
                Int32(truncatingIfNeeded: live) &- Int32(truncatingIfNeeded: physicalMemory.liveEntries(table)),
                to: table)
            if live == 0 { releaseTables(base) }
            at = base &+ 0x20_0000
        }
    }

    /// Frees the empty page table at `address` and every upper table that becomes empty with it.
    private mutating func releaseTables(_ address: UInt64) {
        lastTableTag = .max
        let level4 = root.words + tableIndex(address, level: 4)
        let directoryPointers = PageTableEntry(rawValue: level4.pointee).frame
        let level3 = directoryPointers.words + tableIndex(address, level: 3)
        let directory = PageTableEntry(rawValue: level3.pointee).frame
        let level2 = directory.words + tableIndex(address, level: 2)
        physicalMemory.releaseTable(PageTableEntry(rawValue: level2.pointee).frame)
        level2.pointee = 0
        physicalMemory.addLiveEntries(-1, to: directory)
        if physicalMemory.liveEntries(directory) != 0 { return }
        physicalMemory.releaseTable(directory)
        level3.pointee = 0
        physicalMemory.addLiveEntries(-1, to: directoryPointers)
        if physicalMemory.liveEntries(directoryPointers) != 0 { return }
        physicalMemory.releaseTable(directoryPointers)
        level4.pointee = 0
        physicalMemory.addLiveEntries(-1, to: root)
    }

    /// Brings the present pages of `area` in line with its protection. More rights are granted lazily, by faults.
    private func protectPages(_ area: AreaPointer) {
        let protection = area.pointee
        forEachEntry(protection.start, protection.end) { entry, _ in
            var value = entry.pointee.rawValue & ~(PageTableEntry.writable | PageTableEntry.noExecute)
            if protection.isReadable {
                value |= protection.entryFlags
            } else {
                value &= ~PageTableEntry.present
            }
            entry.pointee.rawValue = value
        }
    }

    /// Drops the pages of private anonymous memory in [start, end); the areas stay.
    mutating func discard(_ start: UInt64, _ end: UInt64) {
        var candidate = areas
        while let area = candidate, area.pointee.start < end {
            if area.pointee.end > start, area.pointee.node == nil, !area.pointee.isShared {
                let from = area.pointee.start > start ? area.pointee.start : start
                let to = area.pointee.end < end ? area.pointee.end : end
                releasePages(from, to)
            }
            candidate = area.pointee.next
        }
        flush(start, end)
    }

    /// Moves the pages of a mapping to a place that has none. False when RAM for page tables is exhausted.
    mutating func movePages(from source: UInt64, to target: UInt64, bytes: UInt64) -> Bool {
        var offset: UInt64 = 0
        while offset < bytes {
            guard let from = existingEntry(at: source &+ offset) else {
                offset = skipAbsent(source &+ offset) &- source
                continue
            }
            if !from.pointee.isEmpty {
                guard let to = entry(at: target &+ offset) else { return false }
                if !from.pointee.isBorrowed { physicalMemory.retain(from.pointee.frame) }
                set(to, from.pointee.rawValue)
            }
            offset &+= pageBytes
        }
        return true
    }

    /// Forgets translations of [start, end) if this space is the loaded one.
    private func flush(_ start: UInt64, _ end: UInt64) {
        guard Scheduler.loadedRoot == root else { return }
        if end &- start == pageBytes { cpu_invlpg(start) } else { cpu_write_cr3(root.address.rawValue) }
    }

    // MARK: Life

    /// A copy-on-write copy, or nil when RAM is exhausted. `self` is the loaded space.
    mutating func fork() -> UnsafeMutablePointer<AddressSpace>? {
        guard let child = AddressSpace.make() else { return nil }
        child.pointee.breakStart = breakStart
        child.pointee.breakEnd = breakEnd
        var last: AreaPointer?
        var candidate = areas
        while let area = candidate {
            guard let copy = kernelHeap.make(MemoryArea.self) else {
                AddressSpace.release(child)
                return nil
            }
            copy.pointee = area.pointee
            copy.pointee.next = nil
            if let node = area.pointee.node { node.pointee.references &+= 1 }
            if let last { last.pointee.next = copy } else { child.pointee.areas = copy }
            child.pointee.areaCount &+= 1
            last = copy
            if !copyPages(of: area, to: child) {
                AddressSpace.release(child)
                cpu_write_cr3(root.address.rawValue)
                return nil
            }
            candidate = area.pointee.next
        }
        cpu_write_cr3(root.address.rawValue)
        return child
    }

    private mutating func copyPages(of area: AreaPointer, to child: UnsafeMutablePointer<AddressSpace>) -> Bool {
        if area.pointee.isShared && !populateShared(area) { return false }
        // What is shared stays as it is; the rest becomes read-only on both sides.
        let keep: UInt64 = area.pointee.isShared ? .max : ~PageTableEntry.writable
        let end = area.pointee.end
        var at = area.pointee.start
        while at < end {
            guard let table = existingTable(at) else {
                at = skipAbsent(at)
                continue
            }
            let next = (at & ~0x1F_FFFF) &+ 0x20_0000
            var index = Int((at >> 12) & 511)
            let last = next <= end ? 512 : Int((end >> 12) & 511)
            let source = table.words
            index = Int(memory_scan_nonzero(source, UInt64(index), UInt64(last)))
            if index < last {
                guard let first = child.pointee.entry(at: at) else { return false }
                let targetTable = Frame(containing: PhysicalAddress(addressOf(first) &- Layout.physicalMap))
                let target = targetTable.words
                var copied: Int32 = 0
                while index < last {
                    let value = source[index] & keep
                    if value == 0 {
                        index = Int(memory_scan_nonzero(source, UInt64(index), UInt64(last)))
                        continue
                    }
                    source[index] = value
                    target[index] = value
                    let entry = PageTableEntry(rawValue: value)
                    if !entry.isBorrowed { physicalMemory.retain(entry.frame) }
                    copied &+= 1
                    index &+= 1
                }
                physicalMemory.addLiveEntries(copied, to: targetTable)
            }
            at = next
        }
        return true
    }

    /// Pages of a shared area exist before a fork, so that both sides see the same ones.
    private mutating func populateShared(_ area: AreaPointer) -> Bool {
        var at = area.pointee.start
        while at < area.pointee.end {
            guard let entry = entry(at: at) else { return false }
            if entry.pointee.isEmpty && !populate(entry, at, area, write: true) { return false }
            at &+= pageBytes
        }
        return true
    }

    /// Drops one owner; the last one frees everything. Never called for the loaded space.
    static func release(_ space: UnsafeMutablePointer<AddressSpace>) {
        space.pointee.references &-= 1
        if space.pointee.references != 0 { return }
        fpu.unmapStub(space)
        var candidate = space.pointee.areas
        space.pointee.areas = nil
        while let area = candidate {
            candidate = area.pointee.next
            space.pointee.releasePages(area.pointee.start, area.pointee.end)
            space.pointee.destroy(area)
        }
        space.pointee.root.words[496] = 0
        space.pointee.root.words[511] = 0
        physicalMemory.releaseTable(space.pointee.root)
        kernelHeap.destroy(space)
    }
}
