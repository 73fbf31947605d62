/// A segment register with its hidden part (Intel SDM vol. 3, 3.4.3), also used for the task and LDT registers.
public struct SegmentRegister: Sendable, Equatable {
    public var selector: UInt16
    public var base: UInt64
    /// Last offset inside the segment, in bytes; for an expand-down segment the last offset outside.
    public var limit: UInt32
    /// Bits 55:40 of the descriptor without the limit's: type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15 (Intel SDM
    /// vol. 3, figure 3-8). A null selector leaves P clear: the segment cannot be used.
    public var attributes: UInt16

    public init(selector: UInt16, base: UInt64 = 0, limit: UInt32, attributes: UInt16) {
        self.selector = selector
        self.base = base
        self.limit = limit
        self.attributes = attributes
    }

    /// What a load of `selector` finds in its 8-byte descriptor.
    public init(selector: UInt16, descriptor: UInt64) {
        self.selector = selector
        base = descriptor >> 16 & 0xFF_FFFF | descriptor >> 32 & 0xFF00_0000
        attributes = UInt16(truncatingIfNeeded: descriptor >> 40) & 0xF0FF
        let raw = UInt32(truncatingIfNeeded: descriptor & 0xFFFF | descriptor >> 32 & 0xF_0000)
        limit = attributes & 0x8000 != 0 ? raw << 12 | 0xFFF : raw
    }

    public static func code64(_ selector: UInt16) -> Self {
        Self(selector: selector, limit: .max, attributes: 0xA09B)
    }
    public static func code32(_ selector: UInt16) -> Self {
        Self(selector: selector, limit: .max, attributes: 0xC09B)
    }
    public static func data(_ selector: UInt16) -> Self { Self(selector: selector, limit: .max, attributes: 0xC093) }
    /// A segment as real mode loads it.
    public static func real(_ selector: UInt16) -> Self {
        Self(selector: selector, base: UInt64(selector) << 4, limit: 0xFFFF, attributes: 0x0093)
    }

    public var type: UInt8 { UInt8(attributes & 15) }
    public var isPresent: Bool { attributes & 1 << 7 != 0 }
    /// Code or data, not a system segment.
    public var isOrdinary: Bool { attributes & 1 << 4 != 0 }
    public var isCode: Bool { attributes & 0x18 == 0x18 }
    public var isConforming: Bool { attributes & 0x1C == 0x1C }
    public var isWritable: Bool { attributes & 0x1A == 0x12 }
    public var isReadable: Bool { attributes & 0x10 != 0 && attributes & 0x0A != 0x08 }
    public var isExpandDown: Bool { attributes & 0x1C == 0x14 }
    public var privilege: UInt8 { UInt8(attributes >> 5 & 3) }
    /// L: 64-bit code.
    public var isLong: Bool { attributes & 1 << 13 != 0 }
    /// D/B: 32-bit operands and addresses, or a 32-bit stack.
    public var isBig: Bool { attributes & 1 << 14 != 0 }
}
