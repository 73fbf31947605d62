import Glibc
import Machine

/// Host mappings of guest RAM, and the shadow table that knows them.
///
/// What it costs here decides what it does (Linux 6.18, one page each): mapping a new page and touching it 4.2 µs, mapping over
/// another one 5.0 µs, taking all rights from a mapping and giving them back 2.3 µs together. So translations that may come
/// back are parked rather than unmapped; their pages also keep the host's page tables, whose end and return would cost 5 µs.
///
/// Safety: MAP_FIXED only ever hits the guest's ranges of the address map, which hold nothing of the VMM's.
final class HostMappings {
    let table: ShadowTable
    private let memory: GuestMemory
    /// No more mappings than this: see `defaultLimit`.
    let limit: Int
    /// Place of the region that eviction looks at next.
    private var hand = 0

    private(set) var mapCalls: UInt64 = 0
    private(set) var protectCalls: UInt64 = 0
    private(set) var unmapCalls: UInt64 = 0
    private(set) var evictions: UInt64 = 0
    private(set) var peak = 0

    init(memory: GuestMemory, limit: Int?) {
        self.memory = memory
        table = ShadowTable(memoryBytes: memory.bytes)
        self.limit = max(limit ?? Self.defaultLimit(), Self.smallestLimit)
    }

    /// One mapping in the middle of another makes three of it.
    private static let split = 2
    /// Eviction frees an eighth at a time, and a fill needs a few.
    static let smallestLimit = 64
    /// Mappings left to the process for thread stacks, allocator arenas and the like, beyond those it has at the start.
    private static let reserve = 2048

    /// What vm.max_map_count leaves to the guest.
    private static func defaultLimit() -> Int {
        // The kernel's own default, where /proc cannot say.
        let most = readNumber("/proc/sys/vm/max_map_count") ?? 65_530
        return most - countLines("/proc/self/maps") - min(reserve, most / 4)
    }

    private static func readNumber(_ path: String) -> Int? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var text = [CChar](repeating: 0, count: 32)
        guard fgets(&text, Int32(text.count), file) != nil else { return nil }
        return atol(text)
    }

    private static func countLines(_ path: String) -> Int {
        guard let file = fopen(path, "r") else { return 0 }
        defer { fclose(file) }
        var lines = 0
        while case let character = getc(file), character != EOF { if character == 10 { lines += 1 } }
        return lines
    }

    // MARK: Mapping

    private func pointer(_ page: UInt64) -> UnsafeMutableRawPointer? {
        UnsafeMutableRawPointer(bitPattern: UInt(page << 12))
    }

    private func protection(_ entry: ShadowEntry) -> Int32 {
        guard entry.isLive else { return PROT_NONE }
        return PROT_READ | (entry.isHostWritable ? PROT_WRITE : 0) | (entry.isExecutable ? PROT_EXEC : 0)
    }

    /// Makes `count` pages from `page` on show the file from the entry's offset on, with its rights, by the cheapest way.
    func establish(_ page: UInt64, count: Int, _ entry: ShadowEntry, populate: Bool) -> Bool {
        makeRoom()
        if holds(page, count, entry) {
            guard protect(page, count, protection(entry)) else { return false }
        } else {
            guard map(page, count, entry, populate: populate) else { return false }
        }
        for index in 0..<UInt64(count) { table.set(page + index, entry.advanced(by: index)) }
        peak = max(peak, table.mappings)
        return true
    }

    /// Maps a large guest page, or what of it is RAM.
    func establishLarge(_ page: UInt64, count: Int, _ entry: ShadowEntry) -> Bool {
        makeRoom()
        let isUpgrade =
            count == 512 && table.region(of: page).map { table[region: $0].isLarge } ?? false
            && table.entry(page).offset == entry.offset
        guard isUpgrade ? protect(page, count, protection(entry)) : map(page, count, entry, populate: false) else {
            return false
        }
        var index = 0
        while index < count {
            let current = page + UInt64(index)
            let part = entry.advanced(by: UInt64(index))
            if current & 511 == 0 && count - index >= 512 && part.offset & 0x1F_FFFF == 0 {
                table.setLarge(current >> 9, part)
                index += 512
            } else {
                table.set(current, part)
                index += 1
            }
        }
        peak = max(peak, table.mappings)
        return true
    }

    /// Whether the pages already show this part of the file, with whatever rights.
    private func holds(_ page: UInt64, _ count: Int, _ entry: ShadowEntry) -> Bool {
        for index in 0..<UInt64(count) {
            let known = table.entry(page + index)
            guard known.isHeld, known.offset == entry.offset + index << 12 else { return false }
        }
        return true
    }

    private func map(_ page: UInt64, _ count: Int, _ entry: ShadowEntry, populate: Bool) -> Bool {
        func attempt() -> Bool {
            mapCalls &+= 1
            let flags = MAP_SHARED | MAP_FIXED | (populate ? Int32(MAP_POPULATE) : 0)
            return mmap(
                pointer(page), count << 12, protection(entry), flags, memory.fileDescriptor, off_t(entry.offset))
                != MAP_FAILED
        }
        if attempt() { return true }
        // The rest of the process uses more mappings than was left to it, or the host is short of memory.
        unmapAll()
        return attempt()
    }

    private func protect(_ page: UInt64, _ count: Int, _ protection: Int32) -> Bool {
        protectCalls &+= 1
        return mprotect(pointer(page), count << 12, protection) == 0
    }

    // MARK: Taking away

    /// Takes all rights from held pages that lie side by side in one region, for ever or until they are established again.
    /// Where the host refuses, or mappings are scarce, the whole region goes.
    func park(_ page: UInt64, count: Int) {
        guard table.mappings + Self.split <= limit, protect(page, count, PROT_NONE) else {
            unmapRegion(page >> 9)
            return
        }
        for index in 0..<UInt64(count) { table.set(page + index, table.entry(page + index).parked) }
    }

    /// Takes the right to write from one live page: the guest's, or only the host's because of code there. Where the host
    /// refuses, the mapping goes.
    func makeReadOnly(_ page: UInt64, guest: Bool) {
        let entry = table.entry(page).readOnly(guest: guest)
        if table.mappings + Self.split <= limit, protect(page, 1, protection(entry)) {
            table.set(page, entry)
        } else {
            unmapRegion(page >> 9)
        }
    }

    /// Unmaps pages that lie side by side in one region.
    func unmap(_ page: UInt64, count: Int) {
        unmapCalls &+= 1
        guard munmap(pointer(page), count << 12) == 0 else {
            unmapRegion(page >> 9)
            return
        }
        for index in 0..<UInt64(count) { table.set(page + index, .absent) }
    }

    func unmapRegion(_ number: UInt64) {
        unmapCalls &+= 1
        guard munmap(pointer(number << 9), 1 << 21) == 0 else {
            // Only for want of mappings, when it would split one: then this frees many.
            unmapAll()
            return
        }
        table.clear(number)
    }

    func unmapAll() {
        for position in stride(from: table.regionCount - 1, through: 0, by: -1) {
            let number = table[region: table.region(at: position)].number
            unmapCalls &+= 1
            munmap(pointer(number << 9), 1 << 21)
            table.clear(number)
        }
    }

    /// Keeps below the limit: the clock algorithm over regions, which spares those filled since it last came by.
    private func makeRoom() {
        guard table.mappings + 2 * Self.split > limit else { return }
        let goal = limit - limit / 8
        while table.mappings > goal && table.regionCount > 0 {
            if hand >= table.regionCount { hand = 0 }
            let region = table.region(at: hand)
            if table[region: region].isRecent {
                table[region: region].isRecent = false
                hand += 1
            } else {
                evictions &+= 1
                unmapRegion(table[region: region].number)
            }
        }
    }
}
