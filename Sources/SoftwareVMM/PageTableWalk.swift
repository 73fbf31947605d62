import GuestInterface
import Machine

/// How the guest touches memory.
struct Access {
    var write = false
    var execute = false
    /// CPL 3.
    var user = false

    /// Error code of the page fault it would raise (Intel SDM vol. 3, 4.7); `present` when the translation exists but forbids it.
    func errorCode(present: Bool, noExecuteEnabled: Bool) -> UInt32 {
        (present ? 1 : 0) | (write ? 2 : 0) | (user ? 4 : 0) | (execute && noExecuteEnabled ? 16 : 0)
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

/// A guest translation: one page of 4 KiB, 2 MiB or 1 GiB.
struct Translation {
    /// Guest-physical address of the page's first byte.
    var pageAddress: UInt64
    /// log2 of the page's bytes: 12, 21 or 30.
    var pageBits: UInt64
    /// Permissions of all levels together.
    var writable: Bool
    var user: Bool
    var executable: Bool
    var dirty: Bool
    var global: Bool
    /// The leaf entry, and how many entries of its table lie before and behind it.
    var leaf: UnsafeMutablePointer<UInt64>
    var leafIndex: Int

    func physical(_ address: UInt64) -> UInt64 { pageAddress | address & ((1 << pageBits) - 1) }
}

/// The guest's paging mode: what of CR0, CR3, CR4 and EFER decides about translations.
struct PagingMode: Equatable {
    var root: UInt64
    var writeProtect: Bool
    var globalPages: Bool
    var noExecute: Bool
}

/// Walks 4-level page tables in guest RAM.
struct PageTableWalk {
    let memory: GuestMemory

    enum Outcome {
        case translated(Translation)
        /// Error code of the page fault that the guest must see.
        case fault(UInt32)
    }

    /// Translates `address` for `access` and sets accessed and dirty bits as the CPU would.
    ///
    /// Entries that point outside RAM read as all zero: not present.
    func translate(_ address: UInt64, _ access: Access, _ mode: PagingMode) -> Outcome {
        guard let found = look(up: address, mode) else {
            return .fault(access.errorCode(present: false, noExecuteEnabled: mode.noExecute))
        }
        var translation = found.translation
        let allowed =
            (!access.user || translation.user)
            && (!access.write || translation.writable || (!access.user && !mode.writeProtect))
            && (!access.execute || translation.executable)
        guard allowed else {
            return .fault(access.errorCode(present: true, noExecuteEnabled: mode.noExecute))
        }
        for level in 0..<found.levels { found.set(PageTableEntry.accessed, at: level) }
        if access.write {
            translation.leaf.pointee |= PageTableEntry.dirty
            translation.dirty = true
        }
        return .translated(translation)
    }

    /// The entries a walk went through, leaf last.
    struct Path {
        var entries:
            (
                UnsafeMutablePointer<UInt64>?, UnsafeMutablePointer<UInt64>?, UnsafeMutablePointer<UInt64>?,
                UnsafeMutablePointer<UInt64>?
            )
        var levels: Int
        var translation: Translation

        func set(_ bit: UInt64, at level: Int) {
            let entry =
                level == 0 ? entries.0 : level == 1 ? entries.1 : level == 2 ? entries.2 : entries.3
            if let entry, entry.pointee & bit == 0 { entry.pointee |= bit }
        }
    }

    /// Translates without checking an access and without side effects; nil when not present.
    func look(up address: UInt64, _ mode: PagingMode) -> Path? {
        guard AddressMap.isCanonical(address) else { return nil }
        var table = mode.root & PageTableEntry.addressMask
        var writable = true
        var user = true
        var executable = true
        var path:
            (
                UnsafeMutablePointer<UInt64>?, UnsafeMutablePointer<UInt64>?, UnsafeMutablePointer<UInt64>?,
                UnsafeMutablePointer<UInt64>?
            ) = (nil, nil, nil, nil)
        var shift: UInt64 = 39
        for level in 0..<4 {
            let index = Int(address >> shift & 511)
            guard let page = memory.pointer(to: GuestPhysicalAddress(table), count: 4096) else {
                return nil
            }
            let pointer = page.assumingMemoryBound(to: UInt64.self) + index
            let entry = pointer.pointee
            guard entry & PageTableEntry.present != 0 else { return nil }
            switch level {
            case 0: path.0 = pointer
            case 1: path.1 = pointer
            case 2: path.2 = pointer
            default: path.3 = pointer
            }
            writable = writable && entry & PageTableEntry.writable != 0
            user = user && entry & PageTableEntry.user != 0
            executable = executable && !(mode.noExecute && entry & PageTableEntry.noExecute != 0)
            let isLeaf = level == 3 || (level > 0 && entry & PageTableEntry.large != 0)
            if isLeaf {
                let base = entry & PageTableEntry.addressMask & ~((1 << shift) - 1)
                return Path(
                    entries: path, levels: level + 1,
                    translation: Translation(
                        pageAddress: base, pageBits: shift, writable: writable, user: user,
                        executable: executable,
                        dirty: entry & PageTableEntry.dirty != 0,
                        global: mode.globalPages && entry & PageTableEntry.global != 0, leaf: pointer,
                        leafIndex: index))
            }
            table = entry & PageTableEntry.addressMask
            shift -= 9
        }
        return nil
    }
}
