/// An I/O APIC with 24 pins (Intel 82093AA data sheet, order number 290566) at the usual address.
///
/// Fixed and lowest-priority delivery to the one processor there is; other delivery modes are not carried out.
public struct IOAPIC: Sendable {
    public static let address: UInt64 = 0xFEC0_0000
    public static let bytes: UInt64 = 0x1000
    public static let pins = 24

    /// Version 0x11, 24 entries.
    private static let version: UInt32 = 0x0017_0011
    private static let masked: UInt64 = 1 << 16
    private static let levelTriggered: UInt64 = 1 << 15
    private static let remoteIRR: UInt64 = 1 << 14
    private static let activeLow: UInt64 = 1 << 13
    /// Delivery status and remote IRR are read-only.
    private static let writable: UInt64 = 0xFF00_0000_0001_AFFF

    private var entries = [UInt64](repeating: IOAPIC.masked, count: IOAPIC.pins)
    private var lines: UInt32 = 0
    private var selected: UInt32 = 0
    private var identifier: UInt32 = 0

    public init() {}

    /// Sets an input. Returns the vector to be delivered, if any.
    public mutating func setLine(_ pin: Int, _ level: Bool) -> UInt8? {
        let bit = UInt32(1) << UInt32(pin)
        let wasSet = lines & bit != 0
        lines = level ? lines | bit : lines & ~bit
        return level && (!wasSet || entries[pin] & Self.levelTriggered != 0) ? request(pin) : nil
    }

    private mutating func request(_ pin: Int) -> UInt8? {
        let entry = entries[pin]
        guard entry & Self.masked == 0, entry >> 8 & 7 <= 1 else { return nil }
        if entry & Self.levelTriggered != 0 {
            guard entry & Self.remoteIRR == 0 else { return nil }
            entries[pin] |= Self.remoteIRR
        }
        return UInt8(truncatingIfNeeded: entry)
    }

    /// The processor has finished a level-triggered interrupt. Returns the vector once more while its input is still set.
    public mutating func endOfInterrupt(_ vector: UInt8) -> UInt8? {
        var again: UInt8?
        for pin in 0..<Self.pins
        where UInt8(truncatingIfNeeded: entries[pin]) == vector && entries[pin] & Self.remoteIRR != 0 {
            entries[pin] &= ~Self.remoteIRR
            if lines & 1 << UInt32(pin) != 0 { again = request(pin) ?? again }
        }
        return again
    }

    /// Reads the register at `offset` from the base: 0x00 selects, 0x10 is the window.
    public func read(_ offset: UInt64) -> UInt32 {
        guard offset == 0x10 else { return offset == 0 ? selected : 0 }
        switch selected {
        case 0, 2: return identifier
        case 1: return Self.version
        case 0x10..<0x10 + 2 * UInt32(Self.pins):
            let entry = entries[Int(selected - 0x10) / 2]
            return UInt32(truncatingIfNeeded: selected & 1 == 0 ? entry : entry >> 32)
        default: return 0
        }
    }

    /// Writes a register. Returns a vector to be delivered when an entry is opened to a set level-triggered input.
    public mutating func write(_ offset: UInt64, _ value: UInt32) -> UInt8? {
        switch offset {
        case 0: selected = value & 0xFF
        case 0x10: return writeSelected(value)
        default: break
        }
        return nil
    }

    private mutating func writeSelected(_ value: UInt32) -> UInt8? {
        switch selected {
        case 0: identifier = value & 0x0F00_0000
        case 0x10..<0x10 + 2 * UInt32(Self.pins):
            let pin = Int(selected - 0x10) / 2
            let old = entries[pin]
            var entry =
                selected & 1 == 0
                ? old & 0xFFFF_FFFF_0000_0000 | UInt64(value) : old & 0xFFFF_FFFF | UInt64(value) << 32
            entry = entry & Self.writable | old & ~Self.writable
            // An edge-triggered entry has no remote IRR.
            if entry & Self.levelTriggered == 0 { entry &= ~Self.remoteIRR }
            entries[pin] = entry
            if entry & Self.levelTriggered != 0, lines & 1 << UInt32(pin) != 0 { return request(pin) }
        default: break
        }
        return nil
    }
}
