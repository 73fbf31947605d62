/// Host code for a run of guest instructions, position-independent but for the fix-ups listed.
public struct TranslatedBlock: Sendable {
    /// Guest address of the first instruction.
    public var guestStart: UInt64
    /// Guest bytes translated; the block covers [guestStart, guestStart + guestBytes).
    public var guestBytes: Int
    public var instructionCount: Int
    public var code: [UInt8]
    /// Offset in `code` at which indirect branches enter, where the address is verified.
    public var indirectEntry: Int
    /// Offset in `code` at which a direct branch enters.
    public var directEntry: Int
    public var exits: [BlockExit]
    /// Sorted by `hostOffset`; covers all of `code`.
    public var map: [MapEntry]

    /// The entry that describes the guest's state when the host is about to execute the instruction at `hostOffset`.
    public func entry(at hostOffset: UInt32) -> MapEntry { map.covering(hostOffset) }
}

extension [MapEntry] {
    /// The entry of a block's map (sorted, not empty) whose range holds `hostOffset`.
    public func covering(_ hostOffset: UInt32) -> MapEntry {
        var low = 0
        var high = count
        while high - low > 1 {
            let middle = (low + high) / 2
            if self[middle].hostOffset <= hostOffset { low = middle } else { high = middle }
        }
        return self[low]
    }
}

/// A direct branch out of a block. It goes to its stub until the target's block exists.
public struct BlockExit: Sendable {
    /// Offset of the branch's rel32 field.
    public var displacementOffset: Int
    /// Offset of the stub.
    public var stubOffset: Int
    /// Offset of the 32-bit field in the stub that takes the exit's identifier.
    public var identifierOffset: Int
    public var target: UInt64
}

/// How to find the precise guest state in a range of host code, which goes on until the next entry.
///
/// Sequences are built so that every host instruction boundary is one of: the guest instruction at `guestRIP` has not begun
/// (after `undo`), or it may be begun again without harm.
public struct MapEntry: Sendable {
    public var hostOffset: UInt32
    public var undo: Undo
    public var guestRIP: UInt64
}

/// What a half-done sequence has changed of the guest's registers.
public struct Undo: OptionSet, Sendable {
    public var rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The register's guest value is in its spill slot.
    public static func spilled(_ register: Register) -> Undo {
        Undo(rawValue: 1 << UInt32(register.rawValue))
    }
    /// RDI (RSI) holds its guest value plus the window base. Undone before spilled registers.
    public static let relocatedRDI = Undo(rawValue: 1 << 16)
    public static let relocatedRSI = Undo(rawValue: 1 << 17)
    /// An indirect branch is under way: guest RIP is the entry's plus what RCX holds, before RCX itself is undone.
    public static let branchTaken = Undo(rawValue: 1 << 18)
    /// RSP is still to be raised by 8: a POP has read its value and not released the stack.
    public static let stackReleasePending = Undo(rawValue: 1 << 19)
    /// A fault that the guest must see here is not that of the host instruction: the VMM carries out the guest's.
    public static let emulate = Undo(rawValue: 1 << 20)
}

/// Why a block could not be made.
public enum TranslationError: Error, Sendable, Equatable {
    /// The first instruction goes on beyond the bytes given.
    case needsMoreBytes
}
