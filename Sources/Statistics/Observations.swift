import Foundation

/// Numbers that a statistic can be taken of: at least one, all finite. Sorted once.
public struct Observations: Sendable, Equatable {
    /// As given.
    public let values: [Double]
    /// In ascending order.
    public let sorted: [Double]

    /// - Throws: `StatisticsError.empty` or `.notFinite`: a NaN would pass silently through every comparison.
    public init(_ values: [Double]) throws(StatisticsError) {
        if values.isEmpty { throw .empty }
        if let index = values.firstIndex(where: { !$0.isFinite }) { throw .notFinite(index: index) }
        self.values = values
        sorted = values.sorted()
    }

    public var count: Int { values.count }

    /// Arithmetic mean, by Kahan's compensated sum.
    public var mean: Double {
        var sum = 0.0
        var lost = 0.0
        for value in values {
            let term = value - lost
            let next = sum + term
            lost = (next - sum) - term
            sum = next
        }
        return sum / Double(count)
    }

    /// Unbiased sample variance; nil of one value.
    public var variance: Double? {
        guard count > 1 else { return nil }
        let mean = mean
        return values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(count - 1)
    }

    public var median: Double { quantile(0.5) }

    /// Linear interpolation between order statistics: type 7 of Hyndman & Fan, "Sample Quantiles in Statistical
    /// Packages", The American Statistician 50(4), 1996 (the default of R and NumPy).
    ///
    /// - Parameter p: 0 to 1.
    public func quantile(_ p: Double) -> Double {
        precondition((0...1).contains(p), "a quantile is asked for by a probability")
        return quantileOfSorted(sorted, p)
    }

    /// Median absolute deviation from the median, as it is. Times 1.4826 it estimates the standard deviation of a
    /// normal distribution (Rousseeuw & Croux, "Alternatives to the Median Absolute Deviation", JASA 88(424), 1993).
    public var medianAbsoluteDeviation: Double {
        let median = median
        return quantileOfSorted(values.map { abs($0 - median) }.sorted(), 0.5)
    }

    /// Geometric mean, the mean for ratios (Fleming & Wallace, "How not to lie with statistics", CACM 29(3), 1986).
    ///
    /// - Throws: `StatisticsError.notPositive`.
    public func geometricMean() throws(StatisticsError) -> Double {
        exp(try Observations(logarithms()).mean)
    }

    /// - Throws: `StatisticsError.notPositive`.
    func logarithms() throws(StatisticsError) -> [Double] {
        if let index = values.firstIndex(where: { $0 <= 0 }) { throw .notPositive(index: index) }
        return values.map { log($0) }
    }
}

/// Type 7 quantile of values in ascending order, at least one.
func quantileOfSorted(_ sorted: [Double], _ p: Double) -> Double {
    let place = p * Double(sorted.count - 1)
    let below = Int(place)
    let above = min(below + 1, sorted.count - 1)
    let fraction = place - Double(below)
    // Not below + fraction · (above − below): that would overflow, and miss exact ends.
    return fraction == 0 ? sorted[below] : sorted[below] * (1 - fraction) + sorted[above] * fraction
}

/// Why a statistic was refused.
public enum StatisticsError: Error, Sendable, Equatable, CustomStringConvertible {
    case empty
    case notFinite(index: Int)
    case notPositive(index: Int)
    case differentCounts(Int, Int)

    public var description: String {
        switch self {
        case .empty: "no values"
        case .notFinite(let index): "value \(index) is not a finite number"
        case .notPositive(let index): "value \(index) is zero or negative, which has no ratio"
        case .differentCounts(let a, let b): "\(a) and \(b) values do not pair"
        }
    }
}
