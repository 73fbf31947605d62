import Foundation
import Results

/// Numbers as tables show them: three significant digits and a unit that fits.
enum NumberText {
    /// "103 ns", "28.1 µs", "1.20 s".
    static func time(nanoseconds: Double) -> String {
        scaled(nanoseconds, units: [("ns", 1), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)])
    }

    /// "103 ns", "−28.1 µs": a difference.
    static func signedTime(nanoseconds: Double) -> String {
        (nanoseconds < 0 ? "−" : "") + time(nanoseconds: abs(nanoseconds))
    }

    /// "0.20", "28.1", "2870": microseconds without the unit, for columns that have it in common.
    static func microseconds(nanoseconds: Double) -> String {
        let value = nanoseconds / 1e3
        return String(format: value >= 99.95 ? "%.0f" : value >= 9.995 ? "%.1f" : "%.2f", value)
    }

    /// "57.0", "<0.1": a share in percent without the sign, for columns that have it in common.
    static func share(_ fraction: Double) -> String {
        fraction > 0 && fraction < 0.0005 ? "<0.1" : String(format: "%.1f", fraction * 100)
    }

    /// "950", "35.6 k", "1.20 M".
    static func count(_ value: Double) -> String {
        scaled(value, units: [("", 1), ("k", 1e3), ("M", 1e6), ("G", 1e9)])
    }

    /// "0.25", "72", "12,733": cycles of an operation, in full.
    static func cycles(_ value: Double) -> String {
        guard value >= 9.95 else { return String(format: "%.2g", value) }
        var digits = Array(String(Int(value.rounded())))
        for index in stride(from: digits.count - 3, to: 0, by: -3) { digits.insert(",", at: index) }
        return String(digits)
    }

    /// A ratio: "1.03", "12.4", "273".
    static func ratio(_ value: Double) -> String {
        value < 10 ? String(format: "%.2f", value) : threeDigits(value)
    }

    /// "+3.1 %", "−12 %": a ratio as a change.
    static func percent(_ fraction: Double) -> String {
        let value = fraction * 100
        return (value < 10 ? String(format: "%.1f", value) : threeDigits(value)) + " %"
    }

    /// "92.0 %", "<0.1 %", "−3.1 %": a part that may be negative.
    static func signedPercent(_ fraction: Double) -> String {
        fraction > 0 && fraction < 0.0005 ? "<0.1 %" : (fraction < 0 ? "−" : "") + percent(abs(fraction))
    }

    /// "1.03 [1.01, 1.05]", or "1.03 [no CI]" of a single trial.
    static func ratio(_ estimate: Estimate) -> String {
        guard let interval = estimate.interval else { return ratio(estimate.value) + " [no CI]" }
        return "\(ratio(estimate.value)) [\(ratio(interval.lower)), \(ratio(interval.upper))]"
    }

    private static func scaled(_ value: Double, units: [(name: String, factor: Double)]) -> String {
        // The unit is chosen after rounding: 999.7 ns is 1.00 µs.
        let unit = units.last { value >= $0.factor * 0.9995 } ?? units[0]
        let number = threeDigits(value / unit.factor)
        return unit.name.isEmpty ? number : "\(number) \(unit.name)"
    }

    /// Three significant digits, without an exponent where one can be done without.
    private static func threeDigits(_ value: Double) -> String {
        if value == 0 { return "0" }
        if value < 0.001 || value >= 1e6 { return String(format: "%.2e", value) }
        if value >= 99.95 { return String(format: "%.0f", value) }
        return String(format: value >= 9.995 ? "%.1f" : value >= 0.9995 ? "%.2f" : "%.3f", value)
    }
}
