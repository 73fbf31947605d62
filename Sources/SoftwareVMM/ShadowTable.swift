import Glibc
import Machine

/// What the host has mapped where, for all pages of the guest's ranges in this process: shadow page tables of one level.
///
///     host address ── 2 MiB region (hash) ──▶ large:  one entry for all of it
///                                         └─▶ leaf:   512 entries
///     RAM page     ── list ──▶ the entries that the guest may write, so that code can be protected
///
/// It says what is there and counts the host's mappings (VMAs) exactly; making it so is `HostMappings`'s.
///
/// Safety: leaves are 8 KiB blocks that belong to their region until it is removed; list links are indices of entries
/// (region × 512 + page, plus one; 0 ends a list) and are unlinked whenever an entry stops being writable.
final class ShadowTable {
    struct Region {
        /// Host address >> 21.
        fileprivate(set) var number: UInt64 = 0
        fileprivate var leaf: Leaf?
        fileprivate var large = ShadowEntry.absent
        /// Pages that are live, and that are held (live or parked).
        fileprivate(set) var live: Int32 = 0
        /// Live pages that are not global.
        fileprivate(set) var local: Int32 = 0
        fileprivate(set) var held: Int32 = 0
        /// Live pages that are parts of large guest pages.
        fileprivate(set) var ofLargePages: Int32 = 0
        fileprivate var position: Int32 = 0
        fileprivate var nextInBucket: Int32 = -1
        fileprivate var nextLarge: UInt32 = 0
        fileprivate var previousLarge: UInt32 = 0
        /// What the entries agreed with when `guest` of the leaf was copied, unless one was entered since.
        fileprivate var agreed: TableComparison?
        fileprivate var agreedGlobals = false
        /// Filled since eviction looked last.
        var isRecent = false
        /// Switches of address space for which nothing in it was live.
        var idleSwitches: UInt8 = 0

        var isLarge: Bool { leaf == nil && large.isHeld }
        /// Host page number of its first page.
        var firstPage: UInt64 { number << 9 }
    }

    /// 512 entries, then 512 next and 512 previous links of the lists by RAM page, then the guest's page table as it was when the
    /// entries were last found to agree with it, then a bit for each live entry and one for each that is live and not global.
    fileprivate struct Leaf {
        static let bytes = 512 * 24 + 128
        let entries: UnsafeMutablePointer<ShadowEntry>
        let next: UnsafeMutablePointer<UInt32>
        let previous: UnsafeMutablePointer<UInt32>
        let guest: UnsafeMutablePointer<UInt64>
        let live: UnsafeMutablePointer<UInt64>
        let local: UnsafeMutablePointer<UInt64>

        init(_ block: UnsafeMutableRawPointer) {
            memset(block, 0, 8192)
            memset(block + 12288, 0, 128)
            entries = block.bindMemory(to: ShadowEntry.self, capacity: 512)
            next = (block + 4096).bindMemory(to: UInt32.self, capacity: 512)
            previous = (block + 6144).bindMemory(to: UInt32.self, capacity: 512)
            guest = (block + 8192).bindMemory(to: UInt64.self, capacity: 512)
            live = (block + 12288).bindMemory(to: UInt64.self, capacity: 16)
            local = live + 8
        }

        var block: UnsafeMutableRawPointer { UnsafeMutableRawPointer(entries) }
    }

    private var regions: UnsafeMutablePointer<Region>
    private var capacity = 1024
    private var freeRegions: [Int32] = []
    private var freeLeaves: [UnsafeMutableRawPointer] = []
    /// Regions in use, in no order.
    private var occupied: [Int32] = []
    private var buckets: UnsafeMutablePointer<Int32>
    private var bucketCount = 2048
    /// First writable entry of each RAM page, and first writable large region of each 2 MiB of RAM.
    private let heads: UnsafeMutablePointer<UInt32>
    private let largeHeads: UnsafeMutablePointer<UInt32>
    /// Scratch of `forEachWritable`.
    private var found: [UInt64] = []
    private var lastNumber = UInt64.max
    private var lastIndex: Int32 = -1

    /// Mappings (VMAs) that the host keeps for what is in the table.
    private(set) var mappings = 0
    /// Live pages that are parts of guest pages of 1 GiB.
    private(set) var ofGigabytePages = 0

    init(memoryBytes: UInt64) {
        regions = .allocate(capacity: capacity)
        regions.initialize(repeating: Region(), count: capacity)
        buckets = .allocate(capacity: bucketCount)
        buckets.initialize(repeating: -1, count: bucketCount)
        freeRegions.reserveCapacity(capacity)
        occupied.reserveCapacity(capacity)
        for index in stride(from: Int32(capacity) - 1, through: 0, by: -1) { freeRegions.append(index) }
        // Zeroed lazily by the host: guests may have more RAM than they ever map.
        let pages = Int(memoryBytes >> 12)
        guard let heads = calloc(pages + 1, 4), let largeHeads = calloc(pages >> 9 + 2, 4) else {
            preconditionFailure("out of memory for the shadow table")
        }
        self.heads = heads.bindMemory(to: UInt32.self, capacity: pages + 1)
        self.largeHeads = largeHeads.bindMemory(to: UInt32.self, capacity: pages >> 9 + 2)
    }

    deinit {
        for index in occupied { regions[Int(index)].leaf.map { free($0.block) } }
        for block in freeLeaves { free(block) }
        regions.deallocate()
        buckets.deallocate()
        free(heads)
        free(largeHeads)
    }

    // MARK: Regions

    var regionCount: Int { occupied.count }

    /// Index of the region at a place in the order of `regionCount`; removing a region moves the last one to its place.
    func region(at position: Int) -> Int { Int(occupied[position]) }

    subscript(region index: Int) -> Region {
        _read { yield regions[index] }
        _modify { yield &regions[index] }
    }

    /// The region that holds a host page.
    func region(of page: UInt64) -> Int? {
        let index = find(page >> 9)
        return index < 0 ? nil : Int(index)
    }

    private func bucket(_ number: UInt64) -> Int {
        Int(truncatingIfNeeded: (number &* 0x9E37_79B9_7F4A_7C15) >> 32) & (bucketCount - 1)
    }

    private func find(_ number: UInt64) -> Int32 {
        if number == lastNumber { return lastIndex }
        var index = buckets[bucket(number)]
        while index >= 0, regions[Int(index)].number != number { index = regions[Int(index)].nextInBucket }
        if index >= 0 {
            lastNumber = number
            lastIndex = index
        }
        return index
    }

    private func add(_ number: UInt64) -> Int32 {
        if freeRegions.isEmpty { grow() }
        let index = freeRegions.removeLast()
        let chain = bucket(number)
        var region = Region()
        region.number = number
        region.position = Int32(occupied.count)
        region.nextInBucket = buckets[chain]
        regions[Int(index)] = region
        buckets[chain] = index
        occupied.append(index)
        return index
    }

    private func grow() {
        let larger = UnsafeMutablePointer<Region>.allocate(capacity: capacity * 2)
        larger.moveInitialize(from: regions, count: capacity)
        (larger + capacity).initialize(repeating: Region(), count: capacity)
        regions.deallocate()
        regions = larger
        for index in stride(from: Int32(capacity) * 2 - 1, through: Int32(capacity), by: -1) {
            freeRegions.append(index)
        }
        capacity *= 2
        buckets.deallocate()
        bucketCount *= 2
        buckets = .allocate(capacity: bucketCount)
        buckets.initialize(repeating: -1, count: bucketCount)
        for index in occupied {
            let chain = bucket(regions[Int(index)].number)
            regions[Int(index)].nextInBucket = buckets[chain]
            buckets[chain] = index
        }
    }

    private func remove(_ index: Int32) {
        let region = regions[Int(index)]
        let chain = bucket(region.number)
        if buckets[chain] == index {
            buckets[chain] = region.nextInBucket
        } else {
            var previous = Int(buckets[chain])
            while regions[previous].nextInBucket != index { previous = Int(regions[previous].nextInBucket) }
            regions[previous].nextInBucket = region.nextInBucket
        }
        let last = occupied.removeLast()
        if last != index {
            occupied[Int(region.position)] = last
            regions[Int(last)].position = region.position
        }
        if let leaf = region.leaf { freeLeaves.append(leaf.block) }
        regions[Int(index)].leaf = nil
        freeRegions.append(index)
        lastNumber = .max
    }

    // MARK: Entries

    /// What is at a host page.
    func entry(_ page: UInt64) -> ShadowEntry {
        let index = find(page >> 9)
        return index < 0 ? .absent : entry(Int(index), Int(page & 511))
    }

    /// What is at a page of a region.
    @inline(__always)
    func entry(_ region: Int, _ page: Int) -> ShadowEntry {
        if let leaf = regions[region].leaf { return leaf.entries[page] }
        let large = regions[region].large
        return large.isHeld ? large.advanced(by: UInt64(page)) : .absent
    }

    /// The first live page of a region at or behind `slot`, global or not; 512 when there is none.
    @inline(__always)
    func nextLive(_ region: Int, from slot: Int, global: Bool) -> Int {
        guard slot < 512 else { return 512 }
        guard let leaf = regions[region].leaf else {
            let large = regions[region].large
            return large.isLive && (global || !large.isGlobal) ? slot : 512
        }
        let live = global ? leaf.live : leaf.local
        var word = slot >> 6
        var bits = live[word] & (UInt64.max << UInt64(slot & 63))
        while bits == 0 {
            word += 1
            if word == 8 { return 512 }
            bits = live[word]
        }
        return word << 6 + bits.trailingZeroBitCount
    }

    // MARK: Comparison with the guest

    /// The first live page at or behind `slot` that does not plainly agree with the guest's page table; 512 when there is none.
    func nextDifferent(_ region: Int, from slot: Int, global: Bool, _ comparison: TableComparison) -> Int {
        guard let leaf = regions[region].leaf else { return nextLive(region, from: slot, global: global) }
        let live = global ? leaf.live : leaf.local
        guard slot < 512 else { return 512 }
        var word = slot >> 6
        var bits = live[word] & (UInt64.max << UInt64(slot & 63))
        while true {
            while bits != 0 {
                let next = word << 6 + bits.trailingZeroBitCount
                guard comparison.agrees(leaf.entries[next], next) else { return next }
                bits &= bits - 1
            }
            word += 1
            if word == 8 { return 512 }
            bits = live[word]
        }
    }

    /// Whether nothing has changed, in the guest's page table or here, since all entries agreed with it.
    func stillAgrees(_ region: Int, global: Bool, _ comparison: TableComparison) -> Bool {
        guard let leaf = regions[region].leaf, regions[region].agreed == comparison,
            regions[region].agreedGlobals || !global
        else { return false }
        return memcmp(leaf.guest, comparison.entries, 4096) == 0
    }

    /// All live entries (those that are not global only, or all) agree with the guest's page table as it is.
    func setAgreed(_ region: Int, global: Bool, _ comparison: TableComparison) {
        guard let leaf = regions[region].leaf else { return }
        memcpy(leaf.guest, comparison.entries, 4096)
        regions[region].agreed = comparison
        regions[region].agreedGlobals = global
    }

    /// Enters what is at a host page now.
    func set(_ page: UInt64, _ entry: ShadowEntry) {
        var index = find(page >> 9)
        if index < 0 {
            guard entry.isHeld else { return }
            index = add(page >> 9)
        }
        let leaf = split(index)
        let slot = Int(page & 511)
        let old = leaf.entries[slot]
        guard old != entry else { return }
        let before = begins(page) + begins(page + 1)
        if old.isGuestWritable { unlink(index, leaf, slot, old) }
        leaf.entries[slot] = entry
        let bit = UInt64(1) << UInt64(slot & 63)
        leaf.live[slot >> 6] = leaf.live[slot >> 6] & ~bit | (entry.isLive ? bit : 0)
        leaf.local[slot >> 6] = leaf.local[slot >> 6] & ~bit | (entry.isLive && !entry.isGlobal ? bit : 0)
        if entry.isGuestWritable { link(index, leaf, slot, entry) }
        if entry.isLive { regions[Int(index)].agreed = nil }
        count(index, old, pages: -1)
        count(index, entry, pages: 1)
        mappings += begins(page) + begins(page + 1) - before
        if regions[Int(index)].held == 0 { remove(index) }
    }

    /// Enters one mapping for a whole region, instead of all that was there.
    func setLarge(_ number: UInt64, _ entry: ShadowEntry) {
        clear(number)
        let index = add(number)
        let page = number << 9
        let before = begins(page + 512)
        regions[Int(index)].large = entry
        if entry.isGuestWritable { linkLarge(index, entry) }
        count(index, entry, pages: 512)
        mappings += begins(page) + begins(page + 512) - before
    }

    /// Nothing is there any more.
    func clear(_ number: UInt64) {
        let index = find(number)
        guard index >= 0 else { return }
        guard regions[Int(index)].leaf == nil else {
            // The last page that goes takes the region with it.
            for page in 0..<UInt64(512) where entry(number << 9 + page).isHeld { set(number << 9 + page, .absent) }
            return
        }
        let page = number << 9
        let before = begins(page) + begins(page + 512)
        let large = regions[Int(index)].large
        if large.isGuestWritable { unlinkLarge(index, large) }
        count(index, large, pages: -512)
        regions[Int(index)].large = .absent
        mappings += begins(page + 512) - before
        remove(index)
    }

    /// The region's leaf, made from its large entry if need be.
    private func split(_ index: Int32) -> Leaf {
        if let leaf = regions[Int(index)].leaf { return leaf }
        guard let block = freeLeaves.popLast() ?? malloc(Leaf.bytes) else {
            preconditionFailure("out of memory for the shadow table")
        }
        let leaf = Leaf(block)
        let large = regions[Int(index)].large
        if large.isHeld {
            if large.isGuestWritable { unlinkLarge(index, large) }
            if large.isLive { leaf.live.update(repeating: .max, count: large.isGlobal ? 8 : 16) }
            for slot in 0..<512 {
                leaf.entries[slot] = large.advanced(by: UInt64(slot))
                if large.isGuestWritable { link(index, leaf, slot, leaf.entries[slot]) }
            }
        }
        regions[Int(index)].large = .absent
        regions[Int(index)].leaf = leaf
        return leaf
    }

    private func count(_ index: Int32, _ entry: ShadowEntry, pages: Int32) {
        if entry.isHeld { regions[Int(index)].held += pages }
        guard entry.isLive else { return }
        regions[Int(index)].live += pages
        if !entry.isGlobal { regions[Int(index)].local += pages }
        if entry.isOfLargePage { regions[Int(index)].ofLargePages += pages }
        if entry.isOfGigabytePage { ofGigabytePages += Int(pages) }
    }

    /// 1 if a mapping of the host's begins with this page.
    @inline(__always)
    private func begins(_ page: UInt64) -> Int {
        let entry = entry(page)
        guard entry.isHeld else { return 0 }
        return entry.continues(self.entry(page &- 1)) ? 0 : 1
    }

    // MARK: Lists of writable entries

    private func link(_ index: Int32, _ leaf: Leaf, _ slot: Int, _ entry: ShadowEntry) {
        let node = UInt32(index) << 9 + UInt32(slot) + 1
        let head = heads + Int(entry.offset >> 12)
        leaf.previous[slot] = 0
        leaf.next[slot] = head.pointee
        if head.pointee != 0 { withLinks(head.pointee) { $1.pointee = node } }
        head.pointee = node
    }

    private func unlink(_ index: Int32, _ leaf: Leaf, _ slot: Int, _ entry: ShadowEntry) {
        let next = leaf.next[slot]
        let previous = leaf.previous[slot]
        if next != 0 { withLinks(next) { $1.pointee = previous } }
        if previous != 0 {
            withLinks(previous) { next1, _ in next1.pointee = next }
        } else {
            heads[Int(entry.offset >> 12)] = next
        }
    }

    /// The next and previous links of a node.
    @inline(__always)
    private func withLinks(
        _ node: UInt32, _ body: (UnsafeMutablePointer<UInt32>, UnsafeMutablePointer<UInt32>) -> Void
    ) {
        let slot = Int((node - 1) & 511)
        guard let leaf = regions[Int((node - 1) >> 9)].leaf else {
            preconditionFailure("a listed shadow entry without its leaf")
        }
        body(leaf.next + slot, leaf.previous + slot)
    }

    private func linkLarge(_ index: Int32, _ entry: ShadowEntry) {
        let head = largeHeads + Int(entry.offset >> 21)
        regions[Int(index)].previousLarge = 0
        regions[Int(index)].nextLarge = head.pointee
        if head.pointee != 0 { regions[Int(head.pointee - 1)].previousLarge = UInt32(index) + 1 }
        head.pointee = UInt32(index) + 1
    }

    private func unlinkLarge(_ index: Int32, _ entry: ShadowEntry) {
        let region = regions[Int(index)]
        if region.nextLarge != 0 { regions[Int(region.nextLarge - 1)].previousLarge = region.previousLarge }
        if region.previousLarge != 0 {
            regions[Int(region.previousLarge - 1)].nextLarge = region.nextLarge
        } else {
            largeHeads[Int(entry.offset >> 21)] = region.nextLarge
        }
    }

    /// Host pages through which the guest may write the page of RAM at `offset`. Large mappings of it are split on the way.
    ///
    /// `body` may change anything; pages that it has taken away itself are left out.
    func forEachWritable(_ offset: UInt64, _ body: (UInt64, ShadowEntry) -> Void) {
        // Only regions that begin at a multiple of 2 MiB of the file are large.
        while case let node = largeHeads[Int(offset >> 21)], node != 0 { _ = split(Int32(node - 1)) }
        var node = heads[Int(offset >> 12)]
        guard node != 0 else { return }
        found.removeAll(keepingCapacity: true)
        while node != 0 {
            let region = Int((node - 1) >> 9)
            let slot = Int((node - 1) & 511)
            found.append(regions[region].firstPage + UInt64(slot))
            withLinks(node) { next, _ in node = next.pointee }
        }
        for index in found.indices {
            let page = found[index]
            let entry = entry(page)
            if entry.isGuestWritable && entry.offset == offset { body(page, entry) }
        }
    }
}
