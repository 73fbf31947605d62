/// What one host page of the guest's address ranges holds, like the page-table entry of a shadow page table.
///
///     absent    nothing is mapped there
///     live      guest RAM, with the rights that the guest's translation gives it
///     parked    guest RAM without any right: a translation that is gone, kept since it may come back, which is then one
///               mprotect instead of a new mapping
struct ShadowEntry: Equatable {
    private(set) var rawValue: UInt64

    private static let held: UInt64 = 1 << 0
    private static let live: UInt64 = 1 << 1
    private static let hostWritable: UInt64 = 1 << 2
    private static let executable: UInt64 = 1 << 3
    private static let guestWritable: UInt64 = 1 << 4
    private static let global: UInt64 = 1 << 5
    private static let sizeShift: UInt64 = 6
    private static let offsetMask: UInt64 = 0x00FF_FFFF_FFFF_F000
    private static let protection = live | hostWritable | executable

    static let absent = ShadowEntry(rawValue: 0)

    private init(rawValue: UInt64) { self.rawValue = rawValue }

    /// A live entry. `pageBits` is the size of the guest's page that it is a part of.
    init(offset: UInt64, writable: Bool, executable: Bool, global: Bool, pageBits: UInt64) {
        rawValue =
            offset & Self.offsetMask | Self.held | Self.live
            | (writable ? Self.guestWritable | Self.hostWritable : 0) | (executable ? Self.executable : 0)
            | (global ? Self.global : 0) | ((pageBits == 12 ? 0 : pageBits == 21 ? 1 : 2) << Self.sizeShift)
    }

    /// Some mapping of the host's is there.
    var isHeld: Bool { rawValue & Self.held != 0 }
    var isLive: Bool { rawValue & Self.live != 0 }
    var isExecutable: Bool { rawValue & Self.executable != 0 }
    /// The translation allows writes; the host mapping may not, where code was translated from the page.
    var isGuestWritable: Bool { rawValue & Self.guestWritable != 0 }
    var isHostWritable: Bool { rawValue & Self.hostWritable != 0 }
    var isGlobal: Bool { rawValue & Self.global != 0 }
    /// Part of a guest page of 2 MiB or 1 GiB.
    var isOfLargePage: Bool { rawValue >> Self.sizeShift & 3 != 0 }
    var isOfGigabytePage: Bool { rawValue >> Self.sizeShift & 3 == 2 }
    /// Offset of the page in the memfd.
    var offset: UInt64 { rawValue & Self.offsetMask }

    var parked: ShadowEntry { ShadowEntry(rawValue: offset | Self.held) }

    /// Without the right to write, whoever took it away: the guest, or the VMM because of code there.
    func readOnly(guest: Bool) -> ShadowEntry {
        ShadowEntry(rawValue: rawValue & ~(Self.hostWritable | (guest ? Self.guestWritable : 0)))
    }

    var writable: ShadowEntry { ShadowEntry(rawValue: rawValue | Self.hostWritable | Self.guestWritable) }

    /// The entry of the page `pages` behind in the same contiguous mapping.
    func advanced(by pages: UInt64) -> ShadowEntry { ShadowEntry(rawValue: rawValue &+ pages << 12) }

    func preceding(by pages: UInt64) -> ShadowEntry { ShadowEntry(rawValue: rawValue &- pages << 12) }

    /// Whether the host keeps this page and the one before it in one mapping.
    func continues(_ previous: ShadowEntry) -> Bool {
        isHeld && previous.isHeld && (rawValue ^ previous.rawValue) & Self.protection == 0
            && offset == previous.offset &+ 4096
    }
}
