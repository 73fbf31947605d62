import GuestInterface
import Machine

/// Holds the shadow entries of a region against the guest's page table for it, an entry in a few instructions.
///
/// It knows pages of 4 KiB only and says "different" of all that is not plainly right; the caller then looks closer.
struct TableComparison: Equatable {
    /// The guest's page table: 512 entries in guest RAM.
    let entries: UnsafeMutablePointer<UInt64>
    /// Bits that must be set: in every entry, and for shadow entries that are writable, executable or global.
    private let always: UInt64
    private let ifWritable: UInt64
    private let ifExecutable: UInt64
    private let ifGlobal: UInt64
    /// Bits that must be clear.
    private let never: UInt64
    private let neverIfExecutable: UInt64
    private let lowBytes: UInt64

    /// Where it is required nothing agrees: it is left out of what is looked at.
    private static let nowhere: UInt64 = 1 << 62

    /// For a page table below entries of these rights. `reserved`: bits that no entry may have.
    init(
        _ entries: UnsafeMutablePointer<UInt64>, _ upper: PageRights, user: Bool, _ mode: PagingMode, reserved: UInt64,
        _ memory: GuestMemory
    ) {
        self.entries = entries
        lowBytes = memory.lowBytes
        let ignoresReadOnly = !user && !mode.writeProtect
        always =
            PageTableEntry.present | PageTableEntry.accessed | (user ? PageTableEntry.user : 0)
            | (user && !upper.user ? Self.nowhere : 0)
        ifWritable =
            PageTableEntry.dirty | (ignoresReadOnly ? 0 : PageTableEntry.writable)
            | (ignoresReadOnly || upper.writable ? 0 : Self.nowhere)
        ifExecutable = upper.executable ? 0 : Self.nowhere
        ifGlobal = mode.globalPages ? PageTableEntry.global : Self.nowhere
        never = reserved
        neverIfExecutable = mode.noExecute ? PageTableEntry.noExecute : 0
    }

    /// Whether a live entry is what the guest's entry at `slot` gives.
    @inline(__always)
    func agrees(_ entry: ShadowEntry, _ slot: Int) -> Bool {
        var required = always
        var forbidden = never
        if entry.isGuestWritable { required |= ifWritable }
        if entry.isExecutable {
            required |= ifExecutable
            forbidden |= neverIfExecutable
        }
        if entry.isGlobal { required |= ifGlobal }
        let offset = entry.offset
        let physical = offset < lowBytes ? offset : offset - lowBytes + BootLayout.highMemory
        let examined = (PageTableEntry.addressMask | required | forbidden) & ~Self.nowhere
        return entries[slot] & examined == physical | required && !entry.isOfLargePage
    }
}
