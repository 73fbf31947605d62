import Glibc
import Machine

/// The shadow of the guest's page tables: host mappings of guest RAM, filled on fault, dropped like a TLB.
///
/// Ring 3 sees its pages at their own addresses; ring 0 sees everything through the window (see `AddressMap`). Dropping a
/// mapping is always right; keeping one past INVLPG or a CR3 load never is. A page is mapped writable only when the
/// guest's entry is dirty and no translated code comes from the page.
///
/// Safety: MAP_FIXED only ever hits [userBegin, userEnd) and the window, which hold nothing of the VMM's.
final class ShadowMMU {
    enum Fill {
        case filled
        /// The guest must see a page fault with this error code.
        case guestFault(UInt32)
        /// No RAM there.
        case device(UInt64)
        /// A write to the page at this memfd offset, which code was translated from: its translations must go first.
        case codeWrite(UInt64)
        /// The host refused.
        case failed(String)
    }

    /// A host mapping for ring 0: several guest pages in one where they are large.
    private struct Extent {
        var host: UInt64
        var bytes: UInt64
        var offset: UInt64
        var protection: Int32
        var global: Bool
    }

    private let memory: GuestMemory
    private let map: AddressMap
    private let walk: PageTableWalk
    /// One bit a page of RAM (by memfd offset): code was translated from it.
    private var codePages: [UInt64]
    /// One bit a page of RAM: it has been mapped writable in the user half since that was last dropped.
    private var userWritable: [UInt64]
    private var kernelExtents: [Extent] = []
    /// Host mappings of the guest's user half, in both places.
    private(set) var userMappings = 0
    /// Beyond this many the user half is dropped, so that the process stays below vm.max_map_count.
    private let userMappingLimit: Int

    private(set) var fills: UInt64 = 0
    private(set) var drops: UInt64 = 0
    private(set) var mapCalls: UInt64 = 0

    init(memory: GuestMemory, map: AddressMap, userMappingLimit: Int = 16_384) {
        self.memory = memory
        self.map = map
        self.userMappingLimit = userMappingLimit
        walk = PageTableWalk(memory: memory)
        codePages = Array(repeating: 0, count: Int(memory.bytes >> 18) + 1)
        userWritable = codePages
    }

    deinit { dropAll() }

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
        fills &+= 1
        let mapped: Bool
        if map.isKernel(address) {
            guard !access.user else {
                return .failed("ring 3 reached a user page in the kernel half, which is not supported")
            }
            mapped = mapKernel(address, translation, physical)
        } else if map.isUser(address) {
            mapped = mapUser(address, access, translation, offset)
        } else {
            return .failed("a guest page at 0x\(String(address, radix: 16)) lies outside the address map")
        }
        return mapped ? .filled : .failed("mmap of guest memory: \(String(cString: strerror(errno)))")
    }

    /// Maps the page at `address` for ring 3 if its translation is there and has been used; the access would fault otherwise.
    func prefill(_ address: UInt64, _ mode: PagingMode) {
        guard map.isUser(address), let path = walk.look(up: address, mode) else { return }
        let translation = path.translation
        guard translation.user else { return }
        _ = fill(
            address, Access(write: translation.writable && translation.dirty, execute: false, user: true),
            mode)
    }

    private func mapUser(
        _ address: UInt64, _ access: Access, _ translation: Translation, _ offset: UInt64
    ) -> Bool {
        guard address >= map.userBegin else { return false }
        if userMappings >= userMappingLimit { dropUser() }
        let page = address & ~0xFFF
        var writable = translation.writable && translation.dirty
        // Ring 0 may write read-only pages when CR0.WP is clear.
        if access.write && !access.user { writable = true }
        var protection = PROT_READ | (writable ? PROT_WRITE : 0)
        if access.user && translation.executable { protection |= PROT_EXEC }
        var run = (first: page, offset: offset, bytes: UInt64(4096))
        if translation.pageBits == 12 {
            run = extend(run, translation, protection)
        }
        if writable && isCode(offset) { protection &= ~PROT_WRITE }
        userMappings += 1
        if protection & PROT_WRITE != 0 { noteWritable(run.offset, run.bytes) }
        let host = access.user ? run.first : map.supervisorHost(run.first)
        return mapHost(host, run.bytes, run.offset, protection, populate: true)
    }

    private func noteWritable(_ offset: UInt64, _ bytes: UInt64) {
        for page in offset >> 12..<(offset + bytes) >> 12 { userWritable[Int(page >> 6)] |= 1 << (page & 63) }
    }

    /// Takes neighbours into the same host mapping: pages that follow in guest memory too, with the same rights, that the guest
    /// has used before (accessed; dirty when writable), so that accessed and dirty bits stay true.
    private func extend(
        _ run: (first: UInt64, offset: UInt64, bytes: UInt64), _ translation: Translation,
        _ protection: Int32
    ) -> (first: UInt64, offset: UInt64, bytes: UInt64) {
        let rights: UInt64 =
            PageTableEntry.present | PageTableEntry.writable | PageTableEntry.user
            | PageTableEntry.accessed
            | PageTableEntry.noExecute | (protection & PROT_WRITE != 0 ? PageTableEntry.dirty : 0)
        let wanted = translation.leaf.pointee & rights
        var run = run
        func follows(_ distance: Int, _ offset: UInt64) -> Bool {
            let index = translation.leafIndex + distance
            guard index >= 0, index < 512 else { return false }
            let entry = translation.leaf[distance]
            guard entry & rights == wanted else { return false }
            return memory.fileOffset(of: GuestPhysicalAddress(entry & PageTableEntry.addressMask))
                == offset
                && !isCode(offset)
        }
        guard !isCode(run.offset) else { return run }
        for distance in 1...15 {
            guard follows(distance, run.offset + run.bytes) else { break }
            run.bytes += 4096
        }
        for distance in 1...15 {
            guard run.offset >= 4096, run.first >= map.userBegin + 4096,
                follows(-distance, run.offset - 4096)
            else { break }
            run.first -= 4096
            run.offset -= 4096
            run.bytes += 4096
        }
        return run
    }

    /// Maps the whole of a large page (as far as it is RAM), or one small one, into the window.
    private func mapKernel(_ address: UInt64, _ translation: Translation, _ physical: UInt64) -> Bool {
        let size = UInt64(1) << translation.pageBits
        var first = translation.pageAddress
        var end = first + size
        // Clip to the RAM range that the faulting byte is in.
        if physical < memory.lowBytes {
            end = min(end, memory.lowBytes)
        } else {
            first = max(first, 4 << 30)
            end = min(end, (4 << 30) + memory.highBytes)
        }
        guard let offset = memory.fileOffset(of: GuestPhysicalAddress(first)) else { return false }
        let guestFirst = (address & ~(size - 1)) + (first - translation.pageAddress)
        let writable = translation.writable && translation.dirty
        let extent = Extent(
            host: map.supervisorHost(guestFirst), bytes: end - first, offset: offset,
            protection: PROT_READ | (writable ? PROT_WRITE : 0), global: translation.global)
        if let known = kernelExtents.firstIndex(where: {
            $0.host == extent.host && $0.bytes == extent.bytes
        }) {
            kernelExtents[known] = extent
        } else {
            kernelExtents.append(extent)
        }
        guard
            mapHost(
                extent.host, extent.bytes, extent.offset, extent.protection, populate: extent.bytes == 4096)
        else {
            return false
        }
        return writable ? protectCode(in: extent) : true
    }

    private func mapHost(
        _ host: UInt64, _ bytes: UInt64, _ offset: UInt64, _ protection: Int32, populate: Bool
    ) -> Bool {
        mapCalls &+= 1
        let flags = MAP_SHARED | MAP_FIXED | (populate ? Int32(MAP_POPULATE) : 0)
        let result = mmap(
            UnsafeMutableRawPointer(bitPattern: UInt(host)), Int(bytes), protection, flags,
            memory.fileDescriptor,
            off_t(offset))
        return result != MAP_FAILED
    }

    /// Whether the translation of `address` outlives CR3 loads.
    func isGlobal(_ address: UInt64, _ mode: PagingMode) -> Bool {
        walk.look(up: address, mode)?.translation.global ?? false
    }

    // MARK: Code pages

    func isCode(_ offset: UInt64) -> Bool {
        codePages[Int(offset >> 18)] & 1 << (offset >> 12 & 63) != 0
    }

    /// Code is about to be translated from the page at this memfd offset: no mapping may write it any more.
    func markCode(_ offset: UInt64) -> Bool {
        guard !isCode(offset) else { return true }
        codePages[Int(offset >> 18)] |= 1 << (offset >> 12 & 63)
        // User mappings are not indexed by page; a page of code is hardly ever mapped for writing.
        if userMappings > 0, userWritable[Int(offset >> 18)] & 1 << (offset >> 12 & 63) != 0 { dropUser() }
        for extent in kernelExtents where extent.protection & PROT_WRITE != 0 {
            guard protect(offset, in: extent, PROT_READ) else { return false }
        }
        return true
    }

    /// The page's translations are gone: it may be written again.
    func unmarkCode(_ offset: UInt64) {
        codePages[Int(offset >> 18)] &= ~(1 << (offset >> 12 & 63))
        for extent in kernelExtents where extent.protection & PROT_WRITE != 0 {
            _ = protect(offset, in: extent, extent.protection)
        }
    }

    private func protect(_ offset: UInt64, in extent: Extent, _ protection: Int32) -> Bool {
        guard offset >= extent.offset, offset < extent.offset + extent.bytes else { return true }
        let host = extent.host + (offset - extent.offset)
        return mprotect(UnsafeMutableRawPointer(bitPattern: UInt(host)), 4096, protection) == 0
    }

    private func protectCode(in extent: Extent) -> Bool {
        var offset = extent.offset
        while offset < extent.offset + extent.bytes {
            if codePages[Int(offset >> 18)] == 0 {
                offset = (offset | 0x3_FFFF) + 1
                continue
            }
            if isCode(offset), !protect(offset, in: extent, PROT_READ) { return false }
            offset += 4096
        }
        return true
    }

    // MARK: Dropping

    /// INVLPG.
    func drop(_ address: UInt64) {
        let page = address & ~0xFFF
        if map.isUser(address) {
            if userMappings > 0 {
                unmap(page, 4096)
                unmap(map.supervisorHost(page), 4096)
            }
            return
        }
        let host = map.supervisorHost(page)
        kernelExtents.removeAll { extent in
            guard host >= extent.host, host < extent.host + extent.bytes else { return false }
            unmap(extent.host, extent.bytes)
            return true
        }
    }

    /// A CR3 load: everything but global translations.
    func dropNonGlobal() {
        dropUser()
        dropKernel { !$0.global }
    }

    func dropAll() {
        dropUser()
        dropKernel { _ in true }
    }

    private func dropKernel(where condition: (Extent) -> Bool) {
        guard kernelExtents.contains(where: condition) else { return }
        kernelExtents.removeAll { extent in
            guard condition(extent) else { return false }
            unmap(extent.host, extent.bytes)
            return true
        }
    }

    private func dropUser() {
        guard userMappings > 0 else { return }
        unmap(map.userBegin, map.userEnd - map.userBegin)
        unmap(map.supervisorHost(0), map.userEnd)
        userMappings = 0
        for word in userWritable.indices where userWritable[word] != 0 { userWritable[word] = 0 }
    }

    private func unmap(_ host: UInt64, _ bytes: UInt64) {
        drops &+= 1
        munmap(UnsafeMutableRawPointer(bitPattern: UInt(host)), Int(bytes))
    }
}
