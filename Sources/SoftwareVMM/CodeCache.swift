import CLinux
import Glibc
import Machine
import Translator

/// Translated blocks: host code in a memfd mapped twice (one mapping writable, one executable: W^X), found by guest address
/// and ring, and linked with each other.
///
///     block ── exits ──▶ block        direct branches, patched when the target is known
///       │                   ▲
///       └─ in 1 or 2 pages ─┘         a page is one guest page of code at one place in RAM, for one ring
///
/// Only blocks of *current* pages may run: those that the guest's page tables map where they were when they were translated.
/// When an address space is left, pages that the next one has not (or has elsewhere) become dormant: whatever leads to
/// their blocks is undone, and done again when they come back. So no branch ever leads to code that is not there for the
/// guest, and a process finds its translations again.
///
/// Host code is laid down in a ring: what is oldest makes place. Every block can be made again.
///
/// Safety: `owner` and both mappings are `capacity` bytes' worth from init to deinit; all offsets come from `insert`, which
/// stays below `capacity`.
final class CodeCache {
    typealias Ring = TranslationOptions.Privilege

    struct Block {
        fileprivate(set) var guestStart: UInt64
        fileprivate(set) var ring: Ring
        /// Host address of its first byte.
        fileprivate(set) var host: UInt64
        /// Where indirect branches enter.
        fileprivate(set) var indirectEntry: UInt64
        fileprivate(set) var hostBytes: Int
        fileprivate(set) var directEntry: UInt64
        fileprivate(set) var map: [MapEntry]
        fileprivate(set) var guestBytes: Int
        /// Numbers of its pages; the second is the first where it lies in one.
        fileprivate(set) var pages: (Int, Int)
        fileprivate var exits: [Int]
        /// Exits that lead here (dormant: that will again).
        fileprivate var incoming: [Int] = []
        /// Whether indirect branches have come here.
        fileprivate var isIndirectTarget = false
        fileprivate var nextInHash: Int
        fileprivate var isAlive = true

        /// How the guest stands when the host is at `address` in this block.
        func entry(at address: UInt64) -> MapEntry {
            map.covering(UInt32(truncatingIfNeeded: address &- host))
        }
    }

    /// A guest page of code.
    struct Page {
        /// Guest address of its first byte.
        fileprivate(set) var address: UInt64
        fileprivate(set) var ring: Ring
        /// Where it is in guest RAM (memfd offset).
        fileprivate(set) var offset: UInt64
        /// Its translation outlives CR3 loads.
        fileprivate(set) var isGlobal: Bool
        /// It is mapped there now.
        fileprivate(set) var isCurrent: Bool
        fileprivate var blocks: [Int] = []
    }

    private struct Exit {
        var target: UInt64
        /// Offset in the cache of the branch's rel32 field, and of the stub it goes to while it is not linked.
        var field: Int
        var stub: Int
        /// Block that it is linked to, or would be were that not dormant; -1: none.
        var linked = -1
    }

    /// Where a block's guest code is: a page, its place in RAM, and whether that outlives CR3 loads.
    struct Place {
        var address: UInt64
        var offset: UInt64
        var isGlobal: Bool
    }

    private struct PageKey: Hashable {
        var address: UInt64
        var ring: Ring
    }

    let capacity: Int
    private let descriptor: Int32
    private let writable: UnsafeMutableRawPointer
    private let executable: UnsafeMutableRawPointer
    private let vcpu: UnsafeMutablePointer<vb_sw_vcpu>

    private(set) var blocks: [Block] = []
    private var freeBlocks: [Int] = []
    private var exits: [Exit] = []
    private var freeExits: [Int] = []
    private(set) var pages: [Page] = []
    private var freePages: [Int] = []
    /// Pages at one address and ring: several where address spaces differ.
    private var pagesAt: [PageKey: [Int]] = [:]
    private var pagesOf: [UInt64: [Int]] = [:]

    private static let hash = UInt64(VB_SW_HASH)
    private static let hashBits: UInt64 = 16
    /// First block of each bucket, or -1.
    private var buckets = [Int](repeating: -1, count: 1 << Int(hashBits))

    /// Block number plus one for every 16 bytes of the cache; 0: none.
    private let owner: UnsafeMutablePointer<UInt32>
    private static let granule = 16
    private var cursor = 0

    /// Counts up whenever a block goes, so that a caller can tell that what it holds may be stale.
    private(set) var generation: UInt64 = 0
    private(set) var evictions: UInt64 = 0
    private(set) var invalidations: UInt64 = 0
    private(set) var translatedInstructions: UInt64 = 0
    private(set) var translatedBlocks: UInt64 = 0

    init(capacity: Int, vcpu: UnsafeMutablePointer<vb_sw_vcpu>) throws(MachineError) {
        self.capacity = capacity
        self.vcpu = vcpu
        let descriptor = clinux_sealed_memfd("vbench-code-cache", UInt(capacity))
        guard descriptor >= 0 else { throw .last("memfd_create for the code cache") }
        guard let writable = mmap(nil, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0),
            writable != MAP_FAILED,
            let executable = mmap(nil, capacity, PROT_READ | PROT_EXEC, MAP_SHARED, descriptor, 0),
            executable != MAP_FAILED,
            let owner = mmap(
                nil, capacity / Self.granule * 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            owner != MAP_FAILED
        else {
            let error = MachineError.last("mmap of the code cache")
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        self.writable = writable
        self.executable = executable
        self.owner = owner.assumingMemoryBound(to: UInt32.self)
        vcpu.pointee.code_begin = UInt64(UInt(bitPattern: executable))
        vcpu.pointee.code_end = vcpu.pointee.code_begin + UInt64(capacity)
        for ring in [Ring.supervisor, .user] {
            table(ring).update(repeating: missStub(ring), count: Int(VB_SW_TABLE_ENTRIES))
        }
    }

    deinit {
        munmap(writable, capacity)
        munmap(executable, capacity)
        munmap(owner, capacity / Self.granule * 4)
        close(descriptor)
    }

    // MARK: The tables of indirect branches

    private func table(_ ring: Ring) -> UnsafeMutablePointer<UInt64> {
        UnsafeMutableRawPointer(vcpu).advanced(by: Int(ring == .user ? VB_SW_USER_TABLE : VB_SW_TABLE))
            .assumingMemoryBound(to: UInt64.self)
    }

    /// Pairs of guest and host address.
    private func secondTable(_ ring: Ring) -> UnsafeMutablePointer<(guest: UInt64, host: UInt64)> {
        UnsafeMutableRawPointer(vcpu)
            .advanced(by: Int(ring == .user ? VB_SW_USER_SECOND_TABLE : VB_SW_SECOND_TABLE))
            .assumingMemoryBound(to: (guest: UInt64, host: UInt64).self)
    }

    private func missStub(_ ring: Ring) -> UInt64 {
        ring == .user ? vcpu.pointee.user_miss_stub : vcpu.pointee.miss_stub
    }

    private func secondSlot(of address: UInt64) -> Int {
        Int(truncatingIfNeeded: (address &* Self.hash) >> UInt64(VB_SW_SECOND_SHIFT))
    }

    /// Lets indirect branches to the block's address find it.
    func enterInTable(_ number: Int) {
        blocks[number].isIndirectTarget = true
        putInTable(number)
    }

    private func putInTable(_ number: Int) {
        let block = blocks[number]
        table(block.ring)[Int(block.guestStart & 0xFFFF)] = block.indirectEntry
        secondTable(block.ring)[secondSlot(of: block.guestStart)] = (block.guestStart, block.indirectEntry)
    }

    private func removeFromTable(_ number: Int) {
        guard blocks[number].isIndirectTarget else { return }
        let host = blocks[number].indirectEntry
        let ring = blocks[number].ring
        let first = table(ring) + Int(blocks[number].guestStart & 0xFFFF)
        if first.pointee == host { first.pointee = missStub(ring) }
        let second = secondTable(ring) + secondSlot(of: blocks[number].guestStart)
        if second.pointee.host == host { second.pointee = (0, 0) }
    }

    // MARK: Finding

    private func bucket(of address: UInt64) -> Int {
        Int(truncatingIfNeeded: (address &* Self.hash) >> (64 - Self.hashBits))
    }

    /// Number of the block that starts at a guest address, if it may run now.
    func find(_ address: UInt64, _ ring: Ring) -> Int? {
        var number = buckets[bucket(of: address)]
        while number >= 0 {
            if blocks[number].guestStart == address && blocks[number].ring == ring && isCurrent(number) {
                return number
            }
            number = blocks[number].nextInHash
        }
        return nil
    }

    private func isCurrent(_ number: Int) -> Bool {
        pages[blocks[number].pages.0].isCurrent && pages[blocks[number].pages.1].isCurrent
    }

    /// The block whose host code holds `address`, an address in the cache.
    func block(containing address: UInt64) -> Int? {
        let number = Int(owner[Int(address - vcpu.pointee.code_begin) / Self.granule])
        return number == 0 ? nil : number - 1
    }

    func directEntry(_ block: Int) -> UInt64 { blocks[block].directEntry }

    // MARK: Pages

    /// Number of the page of code that the guest has there now.
    private func page(_ place: Place, _ ring: Ring) -> Int {
        let key = PageKey(address: place.address, ring: ring)
        if let known = pagesAt[key]?.first(where: { pages[$0].offset == place.offset }) {
            if !pages[known].isCurrent { makeCurrent(known) }
            pages[known].isGlobal = place.isGlobal
            return known
        }
        let new = Page(
            address: place.address, ring: ring, offset: place.offset, isGlobal: place.isGlobal, isCurrent: true)
        let number: Int
        if let free = freePages.popLast() {
            pages[free] = new
            number = free
        } else {
            number = pages.count
            pages.append(new)
        }
        pagesAt[key, default: []].append(number)
        pagesOf[place.offset, default: []].append(number)
        return number
    }

    /// Asks `isThere` of every page that a change of the guest's mappings may have concerned.
    func revalidate(where affected: (Page) -> Bool, isThere: (Page) -> Bool) {
        for number in pages.indices where !pages[number].blocks.isEmpty && affected(pages[number]) {
            let there = isThere(pages[number])
            if there == pages[number].isCurrent { continue }
            if there { makeCurrent(number) } else { makeDormant(number) }
        }
    }

    private func makeDormant(_ number: Int) {
        pages[number].isCurrent = false
        for block in pages[number].blocks {
            removeFromTable(block)
            for exit in blocks[block].incoming { unpatch(exit) }
        }
    }

    private func makeCurrent(_ number: Int) {
        pages[number].isCurrent = true
        for block in pages[number].blocks where isCurrent(block) {
            if blocks[block].isIndirectTarget { putInTable(block) }
            for exit in blocks[block].incoming { patch(exit, to: block) }
        }
    }

    /// The code at `offset` in RAM has changed, or is about to: its translations go, wherever the guest has mapped it.
    func invalidate(offset: UInt64) {
        guard let concerned = pagesOf[offset] else { return }
        invalidations &+= 1
        for page in concerned {
            for block in pages[page].blocks { remove(block) }
        }
    }

    /// So many bytes at a place in the page at `offset` in RAM are about to change: translations of them go.
    func invalidate(offset: UInt64, bytes first: UInt64, count: Int) {
        guard let concerned = pagesOf[offset] else { return }
        for page in concerned {
            let begin = pages[page].address &+ first
            for number in pages[page].blocks {
                let block = blocks[number]
                if begin < block.guestStart &+ UInt64(block.guestBytes), block.guestStart < begin &+ UInt64(count) {
                    remove(number)
                    invalidations &+= 1
                }
            }
        }
    }

    /// Drops the blocks that hold the instruction at a guest address, in whatever address space.
    func remove(containing address: UInt64, _ ring: Ring) {
        let key = PageKey(address: address & ~0xFFF, ring: ring)
        for page in pagesAt[key] ?? [] {
            for number in pages[page].blocks
            where address >= blocks[number].guestStart
                && address < blocks[number].guestStart &+ UInt64(blocks[number].guestBytes)
            {
                remove(number)
            }
        }
    }

    /// Whether the block at a guest address comes from the page at `offset` in RAM.
    func isCode(_ address: UInt64, _ ring: Ring, from offset: UInt64) -> Bool {
        guard let number = find(address, ring) else { return false }
        let own = blocks[number].pages
        return pages[own.0].offset == offset || pages[own.1].offset == offset
    }

    // MARK: Blocks

    /// Takes a block in that lies in one or two pages; the oldest make place for it. Returns its number.
    func insert(_ translated: TranslatedBlock, _ ring: Ring, at place: Place, and second: Place?) -> Int {
        let bytes = (translated.code.count + Self.granule - 1) & ~(Self.granule - 1)
        if cursor + bytes > capacity {
            makePlace(from: cursor, to: capacity)
            cursor = 0
        }
        makePlace(from: cursor, to: cursor + bytes)
        let offset = cursor
        cursor += bytes
        let first = page(place, ring)
        let ownPages = (first, second.map { page($0, ring) } ?? first)
        let host = vcpu.pointee.code_begin + UInt64(offset)
        let target = writable + offset
        translated.code.withUnsafeBytes {
            target.copyMemory(from: $0.baseAddress!, byteCount: $0.count)
        }
        let ownExits = translated.exits.map { exit in
            let new = Exit(
                target: exit.target, field: offset + exit.displacementOffset, stub: offset + exit.stubOffset)
            let identifier: Int
            if let free = freeExits.popLast() {
                exits[free] = new
                identifier = free
            } else {
                identifier = exits.count
                exits.append(new)
            }
            (target + exit.identifierOffset).storeBytes(of: UInt32(identifier), as: UInt32.self)
            return identifier
        }
        let bucket = bucket(of: translated.guestStart)
        let block = Block(
            guestStart: translated.guestStart, ring: ring, host: host,
            indirectEntry: host + UInt64(translated.indirectEntry), hostBytes: bytes,
            directEntry: host + UInt64(translated.directEntry), map: translated.map,
            guestBytes: translated.guestBytes, pages: ownPages, exits: ownExits, nextInHash: buckets[bucket])
        let number: Int
        if let free = freeBlocks.popLast() {
            blocks[free] = block
            number = free
        } else {
            number = blocks.count
            blocks.append(block)
        }
        buckets[bucket] = number
        pages[ownPages.0].blocks.append(number)
        if ownPages.1 != ownPages.0 { pages[ownPages.1].blocks.append(number) }
        (owner + offset / Self.granule).update(repeating: UInt32(number + 1), count: bytes / Self.granule)
        translatedBlocks &+= 1
        translatedInstructions &+= UInt64(translated.instructionCount)
        return number
    }

    private func makePlace(from begin: Int, to end: Int) {
        var offset = begin
        while offset < end {
            let number = Int(owner[offset / Self.granule])
            if number > 0 {
                remove(number - 1)
                evictions &+= 1
            }
            offset += Self.granule
        }
    }

    /// Drops a block: nothing leads to it any more, and its place is free.
    func remove(_ number: Int) {
        guard blocks[number].isAlive else { return }
        generation &+= 1
        removeFromTable(number)
        for exit in blocks[number].incoming {
            unpatch(exit)
            exits[exit].linked = -1
        }
        for exit in blocks[number].exits {
            unlink(exit)
            freeExits.append(exit)
        }
        let bucket = bucket(of: blocks[number].guestStart)
        if buckets[bucket] == number {
            buckets[bucket] = blocks[number].nextInHash
        } else {
            var previous = buckets[bucket]
            while blocks[previous].nextInHash != number { previous = blocks[previous].nextInHash }
            blocks[previous].nextInHash = blocks[number].nextInHash
        }
        let own = blocks[number].pages
        leave(number, page: own.0)
        if own.1 != own.0 { leave(number, page: own.1) }
        let offset = Int(blocks[number].host - vcpu.pointee.code_begin)
        (owner + offset / Self.granule).update(repeating: 0, count: blocks[number].hostBytes / Self.granule)
        blocks[number].isAlive = false
        blocks[number].map = []
        blocks[number].incoming = []
        blocks[number].exits = []
        freeBlocks.append(number)
    }

    private func leave(_ block: Int, page number: Int) {
        pages[number].blocks.removeAll { $0 == block }
        guard pages[number].blocks.isEmpty else { return }
        let key = PageKey(address: pages[number].address, ring: pages[number].ring)
        pagesAt[key]?.removeAll { $0 == number }
        if pagesAt[key]?.isEmpty == true { pagesAt[key] = nil }
        let offset = pages[number].offset
        pagesOf[offset]?.removeAll { $0 == number }
        if pagesOf[offset]?.isEmpty == true { pagesOf[offset] = nil }
        pages[number].isCurrent = false
        freePages.append(number)
    }

    /// Drops everything.
    func flush() {
        for number in blocks.indices { remove(number) }
    }

    // MARK: Links

    /// Guest address that a chained exit goes to.
    func target(ofExit identifier: UInt64) -> UInt64 { exits[Int(identifier)].target }

    /// Lets an exit branch straight to its target's block.
    func link(exit identifier: UInt64, to block: Int) {
        let exit = Int(identifier)
        unlink(exit)
        exits[exit].linked = block
        blocks[block].incoming.append(exit)
        patch(exit, to: block)
    }

    private func unlink(_ exit: Int) {
        let block = exits[exit].linked
        guard block >= 0 else { return }
        blocks[block].incoming.removeAll { $0 == exit }
        exits[exit].linked = -1
    }

    private func patch(_ exit: Int, to block: Int) {
        branch(exits[exit].field, to: Int(blocks[block].directEntry - vcpu.pointee.code_begin))
    }

    private func unpatch(_ exit: Int) { branch(exits[exit].field, to: exits[exit].stub) }

    private func branch(_ field: Int, to offset: Int) {
        (writable + field).storeBytes(of: Int32(truncatingIfNeeded: offset - field - 4), as: Int32.self)
    }
}
