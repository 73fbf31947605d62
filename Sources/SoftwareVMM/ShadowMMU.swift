import Glibc
import GuestInterface
import Machine

/// The shadow of the guest's page tables: host mappings of guest RAM, filled on fault, kept right like a TLB.
///
/// Ring 3 sees its pages at their own addresses; ring 0 sees everything through the window (see `AddressMap`). A page is
/// mapped writable only when the guest's entry is dirty and no translated code comes from the page.
///
/// Where the architecture drops translations (CR3 loads, INVLPG, changes of CR0.WP, CR4.PGE and EFER.NXE) each one is
/// compared with the guest's tables instead, and stays only if a new walk would give it again without setting an accessed or
/// dirty bit in a leaf. That costs some nanoseconds a page where unmapping and faulting again costs ten microseconds. For ring 3's view it
/// waits until ring 3 is entered (`prepareUser`), so that a visit to another address space without ring 3 costs nothing.
final class ShadowMMU {
    enum Fill {
        case filled
        /// The guest must see a page fault with this error code.
        case guestFault(UInt32)
        /// No RAM there.
        case device(UInt64)
        /// A write to the page at this memfd offset, which code was translated from: its translations must go first.
        case codeWrite(UInt64)
        /// The host refused, or the guest asks for what is not supported.
        case failed(String)
    }

    /// Ring 3's view of the guest's user half, or ring 0's of everything.
    enum View {
        case user
        case supervisor
    }

    let memory: GuestMemory
    let map: AddressMap
    let walk: PageTableWalk
    let host: HostMappings
    let retained = RetainedSets()
    /// One bit a page of RAM (by memfd offset): code was translated from it.
    private var codePages: [UInt64]

    /// Roots that the views were last brought in line with.
    var supervisorRoot = UInt64.max
    var userRoot = UInt64.max
    /// What has been invalidated since ring 3's view was brought in line.
    var pendingUser = PendingInvalidation()
    /// Scratch of `revalidate`.
    var regionNumbers: [UInt64] = []

    private(set) var fills: UInt64 = 0
    /// Translations that were invalidated, compared and kept, or taken away.
    var kept: UInt64 = 0
    var dropped: UInt64 = 0
    /// Pages mapped because their address space came back.
    var restored: UInt64 = 0

    /// - Parameter mappingLimit: most host mappings to keep; nil: what vm.max_map_count leaves.
    init(memory: GuestMemory, map: AddressMap, mappingLimit: Int? = nil) {
        self.memory = memory
        self.map = map
        host = HostMappings(memory: memory, limit: mappingLimit)
        walk = PageTableWalk(memory: memory)
        codePages = Array(repeating: 0, count: Int(memory.bytes >> 18) + 1)
    }

    deinit { dropAll() }

    // MARK: Figures

    var mapCalls: UInt64 { host.mapCalls }
    var protectCalls: UInt64 { host.protectCalls }
    var unmapCalls: UInt64 { host.unmapCalls }
    var evictions: UInt64 { host.evictions }
    var peakMappings: Int { host.peak }

    // MARK: Filling

    /// Maps the page at `address` for an access that faulted on the host.
    func fill(_ address: UInt64, _ access: Access, _ mode: PagingMode) -> Fill {
        let translation: Translation
        switch walk.translate(address, access, mode) {
        case .fault(let code): return .guestFault(code)
        case .translated(let found): translation = found
        }
        let physical = translation.physical(address)
        guard let offset = memory.fileOffset(of: GuestPhysicalAddress(physical & ~0xFFF)) else {
            return .device(physical)
        }
        if access.write && isCode(offset) { return .codeWrite(offset) }
        if access.user {
            guard map.isUser(address), address >= map.userBegin else {
                return .failed("ring 3 reached a user page at \(hex(address)), where the host can map none")
            }
        } else if !map.isUser(address) && !map.isKernel(address) {
            return .failed("a guest page at \(hex(address)) lies outside the address map")
        }
        fills &+= 1
        let done =
            translation.pageBits == 12
            ? mapSmall(address, access, translation, offset, mode)
            : mapLarge(address, access, translation, mode)
        return done ? .filled : .failed("mapping guest memory: \(String(cString: strerror(errno)))")
    }

    /// Maps the page for an access of ring 3 that has faulted and is about to be made again. Nothing if it would fault still.
    func prefill(_ address: UInt64, _ access: Access, _ mode: PagingMode) { _ = fill(address, access, mode) }

    func hostPage(_ address: UInt64, _ view: View) -> UInt64 {
        (view == .user ? address : map.supervisorHost(address)) >> 12
    }

    func guestAddress(ofHostPage page: UInt64, _ view: View) -> UInt64 {
        view == .user ? page << 12 : map.guest(ofSupervisorHost: page << 12)
    }

    func view(ofHostPage page: UInt64) -> View { map.isUser(page << 12) ? .user : .supervisor }

    /// The entry that a translation gives a page of RAM in a view.
    func entry(_ translation: Translation, offset: UInt64, _ view: View, _ mode: PagingMode) -> ShadowEntry {
        let entry = ShadowEntry(
            offset: offset, writable: translation.isWritable(user: view == .user, mode),
            executable: view == .user && translation.rights.executable, global: translation.global,
            pageBits: translation.pageBits)
        return isCode(offset) ? entry.readOnly(guest: false) : entry
    }

    /// Most pages on either side that one fill takes along.
    private static let faultAround = 15

    /// Takes neighbours into the same host mapping: pages that follow in guest memory too, with the same rights, that the guest
    /// has used before (accessed; dirty when writable), so that accessed and dirty bits stay true.
    private func mapSmall(
        _ address: UInt64, _ access: Access, _ translation: Translation, _ offset: UInt64, _ mode: PagingMode
    ) -> Bool {
        let view: View = access.user ? .user : .supervisor
        var page = hostPage(address, view)
        var entry = entry(translation, offset: offset, view, mode)
        var count = 1
        if !isCode(offset) {
            let same =
                PageTableEntry.present | PageTableEntry.writable | PageTableEntry.user | PageTableEntry.accessed
                | PageTableEntry.noExecute | PageTableEntry.global
                | (entry.isGuestWritable ? PageTableEntry.dirty : 0)
            func joins(_ distance: Int) -> Bool {
                guard case 0..<512 = translation.leafIndex + distance else { return false }
                let neighbour = translation.leaf[distance]
                let wanted = entry.offset &+ UInt64(bitPattern: Int64(distance)) << 12
                guard (neighbour ^ translation.leaf.pointee) & same == 0,
                    memory.fileOffset(of: GuestPhysicalAddress(neighbour & PageTableEntry.addressMask)) == wanted,
                    !isCode(wanted)
                else { return false }
                let known = host.table.entry(hostPage(address, view) &+ UInt64(bitPattern: Int64(distance)))
                return !known.isLive
            }
            var behind = 0
            while behind < Self.faultAround, joins(behind + 1) { behind += 1 }
            var before = 0
            let lowest = access.user ? map.userBegin >> 12 : 0
            while before < Self.faultAround, page - UInt64(before) > lowest, joins(-before - 1) { before += 1 }
            page -= UInt64(before)
            entry = entry.preceding(by: UInt64(before))
            count += behind + before
        }
        let done = host.establish(page, count: count, entry, populate: count == 1)
        if let region = host.table.region(of: page) { host.table[region: region].isRecent = true }
        return done
    }

    /// Maps the whole of a large page, as far as it is RAM.
    private func mapLarge(
        _ address: UInt64, _ access: Access, _ translation: Translation, _ mode: PagingMode
    ) -> Bool {
        let view: View = access.user ? .user : .supervisor
        let size = UInt64(1) << translation.pageBits
        let physical = translation.physical(address)
        var first = translation.pageAddress
        var end = first + size
        // Clip to the RAM range that the faulting byte is in, and to what ring 3 can have.
        if physical < memory.lowBytes {
            end = min(end, memory.lowBytes)
        } else {
            first = max(first, BootLayout.highMemory)
            end = min(end, BootLayout.highMemory + memory.highBytes)
        }
        let begin = address & ~(size - 1)
        if view == .user && begin < map.userBegin { first = max(first, translation.pageAddress + map.userBegin) }
        guard let offset = memory.fileOffset(of: GuestPhysicalAddress(first)) else { return false }
        let page = hostPage(begin + (first - translation.pageAddress), view)
        let entry = ShadowEntry(
            offset: offset, writable: translation.isWritable(user: view == .user, mode),
            executable: view == .user && translation.rights.executable, global: translation.global,
            pageBits: translation.pageBits)
        guard host.establishLarge(page, count: Int((end - first) >> 12), entry) else { return false }
        if let region = host.table.region(of: page) { host.table[region: region].isRecent = true }
        return entry.isGuestWritable ? protectCode(from: offset, to: offset + (end - first)) : true
    }

    /// Whether the host has the page mapped for such an access.
    func isMapped(_ address: UInt64, user: Bool, _ isWrite: Bool) -> Bool {
        let entry = host.table.entry(hostPage(address, user ? .user : .supervisor))
        return entry.isLive && (!isWrite || entry.isHostWritable)
    }

    /// Whether the translation of `address` outlives CR3 loads.
    func isGlobal(_ address: UInt64, _ mode: PagingMode) -> Bool { walk.look(up: address, mode)?.global ?? false }

    // MARK: Code pages

    func isCode(_ offset: UInt64) -> Bool {
        codePages[Int(offset >> 18)] & 1 << (offset >> 12 & 63) != 0
    }

    /// Code is about to be translated from the page at this memfd offset: no mapping may write it any more.
    func markCode(_ offset: UInt64) -> Bool {
        guard !isCode(offset) else { return true }
        codePages[Int(offset >> 18)] |= 1 << (offset >> 12 & 63)
        protectCode(offset)
        return true
    }

    private func protectCode(_ offset: UInt64) {
        host.table.forEachWritable(offset) { page, entry in
            if entry.isHostWritable { host.makeReadOnly(page, guest: false) }
        }
    }

    /// The page's translations are gone: it may be written again.
    func unmarkCode(_ offset: UInt64) {
        codePages[Int(offset >> 18)] &= ~(1 << (offset >> 12 & 63))
        host.table.forEachWritable(offset) { page, entry in
            if !entry.isHostWritable { _ = host.establish(page, count: 1, entry.writable, populate: false) }
        }
    }

    private func protectCode(from begin: UInt64, to end: UInt64) -> Bool {
        var offset = begin
        while offset < end {
            if codePages[Int(offset >> 18)] == 0 {
                offset = (offset | 0x3_FFFF) + 1
                continue
            }
            if isCode(offset) { protectCode(offset) }
            offset += 4096
        }
        return true
    }
}
