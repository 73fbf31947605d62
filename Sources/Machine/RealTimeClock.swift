import Glibc

/// The CMOS clock at ports 0x70 and 0x71 (Motorola MC146818A): the time of day in UTC, and what PC firmware stores of memory sizes.
/// No interrupts; writes other than of the index are ignored.
public struct RealTimeClock: Sendable {
    private var index: UInt8 = 0
    private let memoryBytes: UInt64

    /// - Parameter lowMemoryBytes: RAM below the device hole.
    public init(lowMemoryBytes: UInt64) { memoryBytes = lowMemoryBytes }

    public mutating func select(_ value: UInt8) { index = value & 0x7F }

    /// The selected byte.
    public func read() -> UInt8 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return read(index, at: time.tv_sec)
    }

    /// A byte at a Unix time.
    func read(_ index: UInt8, at unixTime: Int) -> UInt8 {
        let days = unixTime / 86_400
        let second = unixTime % 86_400
        let (year, month, day) = Self.date(daysSince1970: days)
        let kibibytes = min((memoryBytes >> 10) - min(memoryBytes >> 10, 1024), 0xFFFF)
        let above16MiB = min((memoryBytes - min(memoryBytes, 16 << 20)) >> 16, 0xFFFF)
        switch index {
        case 0x00: return Self.bcd(second % 60)
        case 0x02: return Self.bcd(second / 60 % 60)
        case 0x04: return Self.bcd(second / 3600)
        // Sunday is 1; the first of January 1970 was a Thursday.
        case 0x06: return Self.bcd((days + 4) % 7 + 1)
        case 0x07: return Self.bcd(day)
        case 0x08: return Self.bcd(month)
        case 0x09: return Self.bcd(year % 100)
        case 0x32: return Self.bcd(year / 100)
        // Register A: 32.768 kHz, no update in progress. B: 24 hours, BCD. D: the battery is good.
        case 0x0A: return 0x26
        case 0x0B: return 0x02
        case 0x0D: return 0x80
        // 640 KiB of base memory; KiB above 1 MiB; units of 64 KiB above 16 MiB.
        case 0x15: return 0x80
        case 0x16: return 0x02
        case 0x17, 0x30: return UInt8(truncatingIfNeeded: kibibytes)
        case 0x18, 0x31: return UInt8(truncatingIfNeeded: kibibytes >> 8)
        case 0x34: return UInt8(truncatingIfNeeded: above16MiB)
        case 0x35: return UInt8(truncatingIfNeeded: above16MiB >> 8)
        default: return 0
        }
    }

    private static func bcd(_ value: Int) -> UInt8 { UInt8((value / 10) << 4 | value % 10) }

    /// Gregorian date of a day (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    private static func date(daysSince1970 days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }
}
