import CLinux
import GuestInterface
import Machine

/// How the guest touches memory.
struct Access {
    var write = false
    var execute = false
    /// CPL 3.
    var user = false

    /// Error code of the page fault it would raise (Intel SDM vol. 3, 4.7); `present` when the translation exists but forbids it.
    func errorCode(present: Bool, noExecuteEnabled: Bool, reserved: Bool = false) -> UInt32 {
        (present ? 1 : 0) | (write ? 2 : 0) | (user ? 4 : 0) | (reserved ? 8 : 0)
            | (execute && noExecuteEnabled ? 16 : 0)
    }
}

/// Bits of a page-table entry (Intel SDM vol. 3, 4.5.4).
enum PageTableEntry {
    static let present: UInt64 = 1 << 0
    static let writable: UInt64 = 1 << 1
    static let user: UInt64 = 1 << 2
    static let accessed: UInt64 = 1 << 5
    static let dirty: UInt64 = 1 << 6
    static let large: UInt64 = 1 << 7
    static let global: UInt64 = 1 << 8
    static let noExecute: UInt64 = 1 << 63
    static let addressMask: UInt64 = 0x000F_FFFF_FFFF_F000
}

/// What all levels of a walk allow together.
struct PageRights: Equatable {
    var writable = true
    var user = true
    var executable = true
    /// Every entry on the way has its accessed bit.
    var accessed = true

    @inline(__always)
    mutating func narrow(by entry: UInt64, noExecute: Bool) {
        writable = writable && entry & PageTableEntry.writable != 0
        user = user && entry & PageTableEntry.user != 0
        executable = executable && !(noExecute && entry & PageTableEntry.noExecute != 0)
        accessed = accessed && entry & PageTableEntry.accessed != 0
    }
}

/// A guest translation: one page of 4 KiB, 2 MiB or 1 GiB.
struct Translation {
    /// Guest-physical address of the page's first byte.
    var pageAddress: UInt64
    /// log2 of the page's bytes: 12, 21 or 30.
    var pageBits: UInt64
    /// Of all levels together.
    var rights: PageRights
    var dirty: Bool
    var global: Bool
    /// The leaf entry, and how many entries of its table lie before it.
    var leaf: UnsafeMutablePointer<UInt64>
    var leafIndex: Int

    func physical(_ address: UInt64) -> UInt64 { pageAddress | address & ((1 << pageBits) - 1) }

    /// Whether memory can be written through it as it stands: an earlier write has set the dirty bit.
    func isWritable(user: Bool, _ mode: PagingMode) -> Bool {
        dirty && (rights.writable || !(user || mode.writeProtect))
    }
}

/// The guest's paging mode: what of CR0, CR3, CR4 and EFER decides about translations.
struct PagingMode: Equatable {
    var root: UInt64
    var writeProtect: Bool
    var globalPages: Bool
    var noExecute: Bool
}

/// Walks 4-level page tables in guest RAM (Intel SDM vol. 3, 4.5).
///
/// Safety: tables are where the guest says; each is bounds-checked by `GuestMemory`, and the depth is fixed.
struct PageTableWalk {
    let memory: GuestMemory
    /// Bits 51:MAXPHYADDR, reserved in every present entry.
    private let reservedAddress: UInt64
    /// Whether PDPT entries may map 1 GiB; the large bit is reserved there otherwise.
    private let hasGigabytePages: Bool

    /// Reserved bits are those of the CPUID that guests see (see `VirtualCPUID`), which in this is the host's.
    init(memory: GuestMemory) {
        self.memory = memory
        let physicalBits = UInt64(clinux_cpuid(0x8000_0008, 0).eax & 0xFF)
        reservedAddress = PageTableEntry.addressMask & ~((1 << min(max(physicalBits, 32), 52)) - 1)
        hasGigabytePages = clinux_cpuid(0x8000_0001, 0).edx & 1 << 26 != 0
    }

    enum Outcome {
        case translated(Translation)
        /// Error code of the page fault that the guest must see.
        case fault(UInt32)
    }

    /// Translates `address` for `access` and sets accessed and dirty bits as the CPU would.
    ///
    /// Entries that point outside RAM read as all zero: not present.
    func translate(_ address: UInt64, _ access: Access, _ mode: PagingMode) -> Outcome {
        let found: Path
        switch descend(address, mode) {
        case .absent: return .fault(access.errorCode(present: false, noExecuteEnabled: mode.noExecute))
        case .reserved:
            return .fault(access.errorCode(present: true, noExecuteEnabled: mode.noExecute, reserved: true))
        case .page(let path): found = path
        }
        var translation = found.translation
        let rights = translation.rights
        let allowed =
            (!access.user || rights.user)
            && (!access.write || rights.writable || (!access.user && !mode.writeProtect))
            && (!access.execute || rights.executable)
        guard allowed else {
            return .fault(access.errorCode(present: true, noExecuteEnabled: mode.noExecute))
        }
        if !rights.accessed {
            found.markAccessed()
            translation.rights.accessed = true
        }
        if access.write && !translation.dirty {
            translation.leaf.pointee |= PageTableEntry.dirty
            translation.dirty = true
        }
        return .translated(translation)
    }

    /// Translates without checking an access and without side effects; nil when there is no translation.
    func look(up address: UInt64, _ mode: PagingMode) -> Translation? {
        guard case .page(let path) = descend(address, mode) else { return nil }
        return path.translation
    }

    /// What is known of the 2 MiB around an address: its page table, or the large page that it is a part of.
    struct Region {
        fileprivate enum Leaves {
            case absent
            case table(UnsafeMutablePointer<UInt64>)
            case page(Translation)
        }

        fileprivate var leaves = Leaves.absent
        fileprivate var upper = Upper()

        /// Sets the accessed bits above the leaves. The CPU may: it may use translations speculatively
        /// (Intel SDM vol. 3, 4.10.2.3).
        func markUpperAccessed() {
            if !upper.rights.accessed { upper.markAccessed() }
        }
    }

    /// One descent for all of a region's pages: reading their translations then costs one load each (see `translation`).
    func region(_ address: UInt64, _ mode: PagingMode) -> Region {
        var region = Region()
        guard AddressMap.isCanonical(address) else { return region }
        switch descendUpper(address, mode, &region.upper) {
        case .absent, .reserved: break
        case .page(let path): region.leaves = .page(path.translation)
        case .table(let table): region.leaves = .table(table)
        }
        return region
    }

    /// For comparing shadow entries of a region with its page table; nil when it has none.
    func comparison(with region: Region, user: Bool, _ mode: PagingMode) -> TableComparison? {
        guard case .table(let entries) = region.leaves else { return nil }
        return TableComparison(entries, region.upper.rights, user: user, mode, reserved: reserved(mode), memory)
    }

    /// The translation of one of a region's 512 pages of 4 KiB; nil when there is none.
    @inline(__always)
    func translation(in region: Region, _ slot: Int, _ mode: PagingMode) -> Translation? {
        switch region.leaves {
        case .absent: nil
        case .table(let entries): translation(by: entries + slot, index: slot, under: region.upper.rights, mode)
        case .page(let large): large
        }
    }

    private func translation(
        by leaf: UnsafeMutablePointer<UInt64>, index: Int, under upper: PageRights, _ mode: PagingMode
    ) -> Translation? {
        let entry = leaf.pointee
        guard entry & PageTableEntry.present != 0, entry & reserved(mode) == 0 else { return nil }
        var rights = upper
        rights.narrow(by: entry, noExecute: mode.noExecute)
        return Translation(
            pageAddress: entry & PageTableEntry.addressMask, pageBits: 12, rights: rights,
            dirty: entry & PageTableEntry.dirty != 0,
            global: mode.globalPages && entry & PageTableEntry.global != 0, leaf: leaf, leafIndex: index)
    }

    // MARK: Descent

    /// The entries above the leaf, from the PML4 entry down.
    fileprivate struct Upper {
        var entries: (UnsafeMutablePointer<UInt64>?, UnsafeMutablePointer<UInt64>?, UnsafeMutablePointer<UInt64>?) =
            (nil, nil, nil)
        var rights = PageRights()

        func markAccessed() {
            Self.mark(entries.0)
            Self.mark(entries.1)
            Self.mark(entries.2)
        }

        static func mark(_ entry: UnsafeMutablePointer<UInt64>?) {
            if let entry, entry.pointee & PageTableEntry.accessed == 0 { entry.pointee |= PageTableEntry.accessed }
        }
    }

    private struct Path {
        var upper: Upper
        var translation: Translation

        func markAccessed() {
            upper.markAccessed()
            Upper.mark(translation.leaf)
        }
    }

    private enum Descent {
        case absent
        case reserved
        case page(Path)
    }

    private enum UpperDescent {
        case absent
        case reserved
        case page(Path)
        case table(UnsafeMutablePointer<UInt64>)
    }

    /// Bits that must be clear in every present entry.
    @inline(__always)
    private func reserved(_ mode: PagingMode) -> UInt64 {
        reservedAddress | (mode.noExecute ? 0 : PageTableEntry.noExecute)
    }

    private func descend(_ address: UInt64, _ mode: PagingMode) -> Descent {
        guard AddressMap.isCanonical(address) else { return .absent }
        var upper = Upper()
        switch descendUpper(address, mode, &upper) {
        case .absent: return .absent
        case .reserved: return .reserved
        case .page(let path): return .page(path)
        case .table(let table):
            let index = Int(address >> 12 & 511)
            let entry = table[index]
            guard entry & PageTableEntry.present != 0 else { return .absent }
            guard let found = translation(by: table + index, index: index, under: upper.rights, mode) else {
                return .reserved
            }
            return .page(Path(upper: upper, translation: found))
        }
    }

    @inline(__always)
    private func table(at address: UInt64) -> UnsafeMutablePointer<UInt64>? {
        memory.pointer(to: GuestPhysicalAddress(address & PageTableEntry.addressMask), count: 4096)?
            .assumingMemoryBound(to: UInt64.self)
    }

    /// The levels above page tables. A large page sits at level 1 (1 GiB) or 2 (2 MiB) from the top.
    private func descendUpper(_ address: UInt64, _ mode: PagingMode, _ upper: inout Upper) -> UpperDescent {
        guard var table = table(at: mode.root) else { return .absent }
        let reserved = reserved(mode)
        var shift: UInt64 = 39
        for level in 0..<3 {
            let index = Int(address >> shift & 511)
            let pointer = table + index
            let entry = pointer.pointee
            guard entry & PageTableEntry.present != 0 else { return .absent }
            guard entry & reserved == 0 else { return .reserved }
            upper.rights.narrow(by: entry, noExecute: mode.noExecute)
            if entry & PageTableEntry.large != 0 {
                guard level == 2 || (level == 1 && hasGigabytePages) else { return .reserved }
                // Bit 12 is PAT; the others below the page's size are reserved.
                guard entry & PageTableEntry.addressMask & ((1 << shift) - 1) & ~(1 << 12) == 0 else {
                    return .reserved
                }
                return .page(
                    Path(
                        upper: upper,
                        translation: Translation(
                            pageAddress: entry & PageTableEntry.addressMask & ~((1 << shift) - 1), pageBits: shift,
                            rights: upper.rights, dirty: entry & PageTableEntry.dirty != 0,
                            global: mode.globalPages && entry & PageTableEntry.global != 0, leaf: pointer,
                            leafIndex: index)))
            }
            switch level {
            case 0: upper.entries.0 = pointer
            case 1: upper.entries.1 = pointer
            default: upper.entries.2 = pointer
            }
            guard let next = self.table(at: entry) else { return .absent }
            table = next
            shift -= 9
        }
        return .table(table)
    }
}
