/// Sizes and durations as people write them.
enum Quantity {
    private static let sizeUnits: [(name: String, factor: Double)] = [
        ("B", 1), ("KiB", 0x1p10), ("MiB", 0x1p20), ("GiB", 0x1p30), ("TiB", 0x1p40),
    ]
    private static let timeUnits: [(name: String, factor: Double)] = [
        ("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1), ("min", 60), ("h", 3600),
    ]

    /// "128MiB" → 134217728. Units: B, KiB, MiB, GiB, TiB.
    static func bytes(_ text: String) -> Double? { parse(text, sizeUnits) }

    /// "500ms" → 0.5. Units: ns, us, ms, s, min, h.
    static func seconds(_ text: String) -> Double? { parse(text, timeUnits) }

    /// A plain decimal number, spaces, a unit.
    private static func parse(_ text: String, _ units: [(name: String, factor: Double)]) -> Double? {
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == "." || $0 == "-") }
        let unit = text[digits.endIndex...].drop { $0 == " " }
        guard let number = Double(digits), let factor = units.first(where: { $0.name == unit })?.factor else {
            return nil
        }
        return number * factor
    }

    /// In the largest unit that gives a whole number: "16MiB".
    static func text(bytes: UInt64) -> String {
        var value = bytes
        var unit = 0
        while value >= 1024, value.isMultiple(of: 1024), unit + 1 < sizeUnits.count {
            value /= 1024
            unit += 1
        }
        return "\(value)\(sizeUnits[unit].name)"
    }
}
