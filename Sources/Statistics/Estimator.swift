import Foundation

/// Estimates times and ratios of times, with confidence intervals, from trials.
///
/// The unit of observation is the trial (one run of the program in a fresh process or VM), never the round: rounds of
/// a trial share its memory layout and its moment, so that they are not independent (Georges, Buytaert & Eeckhout,
/// "Statistically Rigorous Java Performance Evaluation", OOPSLA 2007; Kalibera & Jones, "Rigorous Benchmarking in
/// Reasonable Time", ISMM 2013).
///
/// With `bootstrapMinimum` trials or more the interval is an expanded percentile bootstrap of the median, which
/// assumes nothing of the distribution. With fewer, a bootstrap cannot reach 95 %: no interval within the range of n
/// values covers the median with more than 1 − 2^(1−n). There the interval is Student's t on logarithms, as times and
/// their ratios are skewed and positive. It is wide for few trials, and it should be.
public struct Estimator: Sendable {
    /// Fewest trials for a bootstrap interval: 1 − 2^(1−6) = 0.969 is the first above 0.95.
    public static let bootstrapMinimum = 6

    public var confidence: Double
    /// Number of bootstrap resamples. 10,000 keeps the ends' own noise below a tenth of the interval's width.
    public var resamples: Int
    public var seed: UInt64

    public init(seed: UInt64, confidence: Double = 0.95, resamples: Int = 10_000) {
        precondition(confidence > 0 && confidence < 1 && resamples > 0, "a confidence between 0 and 1, and resamples")
        self.seed = seed
        self.confidence = confidence
        self.resamples = resamples
    }

    /// Median of positive values.
    ///
    /// - Throws: `StatisticsError` for no values, NaN, infinity, or a value that is not positive.
    public func median(_ values: [Double]) throws(StatisticsError) -> IntervalEstimate {
        let observations = try Observations(values)
        let logarithms = try Observations(observations.logarithms())
        let value = observations.median
        if values.count >= Self.bootstrapMinimum {
            return IntervalEstimate(value: value, interval: bootstrap(values) { $0 }.including(value))
        }
        return IntervalEstimate(value: value, interval: oneSampleStudent(logarithms)?.including(value))
    }

    /// How many times `new` takes what `base` takes, where the values of the same index belong together: the median
    /// of the pairs' ratios. Drift that hits both of a pair cancels out.
    ///
    /// - Throws: `StatisticsError` for no values, different counts, NaN, infinity, or a value that is not positive.
    public func pairedRatio(base: [Double], new: [Double]) throws(StatisticsError) -> IntervalEstimate {
        if base.count != new.count { throw .differentCounts(base.count, new.count) }
        let baseLogarithms = try Observations(base).logarithms()
        let newLogarithms = try Observations(new).logarithms()
        let differences = try Observations(zip(newLogarithms, baseLogarithms).map { $0 - $1 })
        let value = exp(differences.median)
        if base.count >= Self.bootstrapMinimum {
            let interval = bootstrap(differences.values) { exp($0) }
            return IntervalEstimate(value: value, interval: interval.including(value))
        }
        return IntervalEstimate(value: value, interval: oneSampleStudent(differences)?.including(value))
    }

    /// The ratio of the medians of two independent groups, `new` to `base`.
    ///
    /// - Throws: `StatisticsError` for no values, NaN, infinity, or a value that is not positive.
    public func independentRatio(base: [Double], new: [Double]) throws(StatisticsError) -> IntervalEstimate {
        let base = try Observations(Observations(base).logarithms())
        let new = try Observations(Observations(new).logarithms())
        let value = exp(new.median - base.median)
        guard min(base.count, new.count) >= Self.bootstrapMinimum else {
            return IntervalEstimate(value: value, interval: welch(base, new)?.including(value))
        }
        var generator = Xoshiro256(seed: seed)
        var medians = [Double](repeating: 0, count: resamples)
        var scratch: [Double] = []
        for index in 0..<resamples {
            let newMedian = Self.resampledMedian(new.values, &scratch, &generator)
            medians[index] = exp(newMedian - Self.resampledMedian(base.values, &scratch, &generator))
        }
        let interval = percentiles(of: medians, observations: min(base.count, new.count))
        return IntervalEstimate(value: value, interval: interval.including(value))
    }

    // MARK: Intervals

    private func bootstrap(_ values: [Double], _ transform: (Double) -> Double) -> ConfidenceInterval {
        var generator = Xoshiro256(seed: seed)
        var medians = [Double](repeating: 0, count: resamples)
        var scratch: [Double] = []
        for index in 0..<resamples {
            medians[index] = transform(Self.resampledMedian(values, &scratch, &generator))
        }
        return percentiles(of: medians, observations: values.count)
    }

    /// The expanded percentile interval: the plain one is too narrow for few observations, as resamples vary by a
    /// factor √((n − 1)/n) too little, and quantiles of a normal distribution stand where those of Student's t
    /// belong. Both are set right in the probability at which the bootstrap distribution is cut (Hesterberg, "What
    /// Teachers Should Know About the Bootstrap", The American Statistician 69(4), 2015, section 3.3).
    private func percentiles(of values: [Double], observations: Int) -> ConfidenceInterval {
        let sorted = values.sorted()
        let count = Double(observations)
        let t = StudentT.quantile(1 - (1 - confidence) / 2, degrees: count - 1)
        let tail = 0.5 * erfc((count / (count - 1)).squareRoot() * t / 2.0.squareRoot())
        return ConfidenceInterval(
            lower: quantileOfSorted(sorted, tail), upper: quantileOfSorted(sorted, 1 - tail), confidence: confidence,
            method: .percentileBootstrap)
    }

    private static func resampledMedian(
        _ values: [Double], _ scratch: inout [Double], _ generator: inout Xoshiro256
    ) -> Double {
        scratch.removeAll(keepingCapacity: true)
        for _ in values.indices { scratch.append(values[generator.index(below: values.count)]) }
        scratch.sort()
        return quantileOfSorted(scratch, 0.5)
    }

    /// t interval of the mean of logarithms, as a factor. Nil of one value.
    private func oneSampleStudent(_ logarithms: Observations) -> ConfidenceInterval? {
        guard let variance = logarithms.variance else { return nil }
        let count = Double(logarithms.count)
        return student(
            centre: logarithms.mean, standardError: (variance / count).squareRoot(), degrees: count - 1)
    }

    /// Welch's t interval (Biometrika 34, 1947) of the difference of means of logarithms, as a factor. Nil if a group
    /// has one value.
    private func welch(_ base: Observations, _ new: Observations) -> ConfidenceInterval? {
        guard let baseVariance = base.variance, let newVariance = new.variance else { return nil }
        let baseCount = Double(base.count)
        let newCount = Double(new.count)
        let a = baseVariance / baseCount
        let b = newVariance / newCount
        // Without any spread the degrees are 0/0, and the interval is a point whatever they are.
        let degrees =
            a + b == 0
            ? baseCount + newCount - 2 : (a + b) * (a + b) / (a * a / (baseCount - 1) + b * b / (newCount - 1))
        return student(centre: new.mean - base.mean, standardError: (a + b).squareRoot(), degrees: degrees)
    }

    private func student(centre: Double, standardError: Double, degrees: Double) -> ConfidenceInterval {
        let margin = StudentT.quantile(1 - (1 - confidence) / 2, degrees: degrees) * standardError
        return ConfidenceInterval(
            lower: exp(centre - margin), upper: exp(centre + margin), confidence: confidence, method: .logStudent)
    }
}
