import Foundation

/// Student's t distribution.
enum StudentT {
    /// The value that the distribution stays below with this probability.
    ///
    /// - Parameters:
    ///   - p: between 0 and 1, ends excluded.
    ///   - degrees: degrees of freedom, positive, not necessarily whole (Welch).
    static func quantile(_ p: Double, degrees: Double) -> Double {
        if p < 0.5 { return -quantile(1 - p, degrees: degrees) }
        // Bisection: the function is called a few times for a report, and it cannot go astray.
        var low = 0.0
        var high = 1.0
        while cumulative(high, degrees: degrees) < p, high < 1e12 { high *= 2 }
        for _ in 0..<200 where high - low > 1e-13 * high {
            let middle = (low + high) / 2
            if cumulative(middle, degrees: degrees) < p { low = middle } else { high = middle }
        }
        return (low + high) / 2
    }

    /// Probability of a value up to `t` ≥ 0 (Abramowitz & Stegun 26.7.1, through the incomplete beta function).
    static func cumulative(_ t: Double, degrees: Double) -> Double {
        1 - 0.5 * regularizedBeta(degrees / (degrees + t * t), degrees / 2, 0.5)
    }

    /// I_x(a, b) by its continued fraction (NIST DLMF 8.17.22), evaluated by Lentz's method.
    static func regularizedBeta(_ x: Double, _ a: Double, _ b: Double) -> Double {
        if x <= 0 { return 0 }
        if x >= 1 { return 1 }
        // The fraction converges fast only below the mean; the other side follows by symmetry.
        if x > (a + 1) / (a + b + 2) { return 1 - regularizedBeta(1 - x, b, a) }
        let front = exp(a * log(x) + b * log1p(-x) + lgamma(a + b) - lgamma(a) - lgamma(b)) / a
        let tiny = 1e-300
        func guarded(_ value: Double) -> Double { abs(value) < tiny ? tiny : value }
        var c = 1.0
        var d = 1 / guarded(1 - (a + b) * x / (a + 1))
        var fraction = d
        for step in 1...1000 {
            let m = Double(step)
            let even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
            d = 1 / guarded(1 + even * d)
            c = guarded(1 + even / c)
            fraction *= c * d
            let odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
            d = 1 / guarded(1 + odd * d)
            c = guarded(1 + odd / c)
            fraction *= c * d
            if abs(c * d - 1) < 1e-15 { break }
        }
        return front * fraction
    }
}
