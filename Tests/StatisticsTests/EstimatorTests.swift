import Foundation
import Testing

@testable import Statistics

private func isClose(_ a: Double, _ b: Double, _ tolerance: Double = 1e-9) -> Bool {
    abs(a - b) <= tolerance * max(1, abs(b))
}

/// Normal deviates by the polar method.
private struct Normal {
    var generator: Xoshiro256

    mutating func next() -> Double {
        while true {
            let u = Double.random(in: -1...1, using: &generator)
            let v = Double.random(in: -1...1, using: &generator)
            let s = u * u + v * v
            if s > 0 && s < 1 { return u * (-2 * log(s) / s).squareRoot() }
        }
    }
}

struct EstimatorTests {
    private let estimator = Estimator(seed: 1)

    // MARK: Numbers by hand

    /// Logarithms −ln 2, 0, ln 2: mean 0, deviation ln 2, t(2) = 4.302653; margin 4.302653 · ln 2 / √3 = 1.721876.
    @Test func fewTrialsGiveStudentsInterval() throws {
        let estimate = try estimator.median([2, 1, 0.5])
        #expect(estimate.value == 1)
        let interval = try #require(estimate.interval)
        #expect(interval.method == .logStudent)
        #expect(interval.confidence == 0.95)
        #expect(isClose(log(interval.upper), 1.721876, 1e-5))
        #expect(isClose(interval.lower * interval.upper, 1))
    }

    @Test func pairedRatioIsTheMedianOfTheRatios() throws {
        // Ratios 2, 3, 4, whatever the drift from pair to pair.
        let estimate = try estimator.pairedRatio(base: [1, 10, 100], new: [2, 30, 400])
        #expect(isClose(estimate.value, 3))
        let interval = try #require(estimate.interval)
        #expect(interval.lower < 2 && interval.upper > 4)
        // Mean of ln 2, ln 3, ln 4 is 1.059351, deviation 0.348237.
        #expect(isClose(log(interval.upper), 1.059351 + 4.302653 * 0.348237 / 3.0.squareRoot(), 1e-5))
    }

    /// Welch with equal variances and counts is Student with 2n − 2 degrees: t(4) = 2.776445.
    @Test func independentRatioOfFewTrialsIsWelchs() throws {
        let base = [-0.1, 0, 0.1].map { exp($0) }
        let new = [0.9, 1, 1.1].map { exp($0) }
        let estimate = try estimator.independentRatio(base: base, new: new)
        #expect(isClose(estimate.value, exp(1)))
        let margin = 2.776445 * (0.01 / 3 + 0.01 / 3).squareRoot()
        let interval = try #require(estimate.interval)
        #expect(isClose(log(interval.lower), 1 - margin, 1e-5))
        #expect(isClose(log(interval.upper), 1 + margin, 1e-5))
    }

    // MARK: Edges

    @Test func aSingleTrialHasNoInterval() throws {
        #expect(try estimator.median([5]) == IntervalEstimate(value: 5, interval: nil))
        #expect(try estimator.pairedRatio(base: [2], new: [3]).interval == nil)
        #expect(try estimator.independentRatio(base: [2], new: [3, 4, 5]).interval == nil)
        #expect(try estimator.independentRatio(base: [2, 2, 2], new: [3]).interval == nil)
    }

    @Test(arguments: [2, 3, 5, 6, 20])
    func identicalTrialsGiveAPoint(count: Int) throws {
        let ones = [Double](repeating: 3, count: count)
        let twos = [Double](repeating: 6, count: count)
        for estimate in [
            try estimator.pairedRatio(base: ones, new: twos), try estimator.independentRatio(base: ones, new: twos),
        ] {
            #expect(isClose(estimate.value, 2))
            #expect(isClose(estimate.interval!.lower, 2))
            #expect(isClose(estimate.interval!.upper, 2))
        }
    }

    @Test func refusesNaNZeroNegativeAndUnpaired() {
        #expect(throws: StatisticsError.empty) { try estimator.median([]) }
        #expect(throws: StatisticsError.notFinite(index: 1)) { try estimator.median([1, .nan]) }
        #expect(throws: StatisticsError.notPositive(index: 0)) { try estimator.median([0, 1]) }
        #expect(throws: StatisticsError.notPositive(index: 1)) {
            try estimator.pairedRatio(base: [1, 0], new: [1, 1])
        }
        #expect(throws: StatisticsError.notPositive(index: 0)) {
            try estimator.independentRatio(base: [1, 2], new: [-1, 1])
        }
        #expect(throws: StatisticsError.differentCounts(1, 2)) { try estimator.pairedRatio(base: [1], new: [1, 2]) }
    }

    @Test func theSameSeedGivesTheSameInterval() throws {
        var normal = Normal(generator: Xoshiro256(seed: 5))
        let values = (0..<50).map { _ in exp(normal.next()) }
        #expect(try Estimator(seed: 1).median(values) == Estimator(seed: 1).median(values))
        #expect(
            try Estimator(seed: 1, resamples: 99).median(values) != Estimator(seed: 2, resamples: 99).median(values))
        #expect(try estimator.median(values).interval?.method == .percentileBootstrap)
    }

    /// An interval always holds the value it is shown with, and is where the values are.
    @Test func intervalsHoldTheirValue() throws {
        var normal = Normal(generator: Xoshiro256(seed: 11))
        let estimator = Estimator(seed: 1, resamples: 200)
        for count in 2...12 {
            for _ in 0..<20 {
                let a = (0..<count).map { _ in exp(3 * normal.next()) }
                let b = (0..<count).map { _ in exp(3 * normal.next()) }
                for estimate in [
                    try estimator.median(a), try estimator.pairedRatio(base: a, new: b),
                    try estimator.independentRatio(base: a, new: b),
                ] {
                    let interval = try #require(estimate.interval)
                    #expect(interval.lower <= estimate.value && estimate.value <= interval.upper)
                    #expect(interval.lower > 0)
                }
            }
        }
    }

    /// Times in other units give the same ratio, and the inverse comparison the inverse ratio.
    @Test(arguments: [3, 8])
    func ratiosKnowNoUnitsAndInvert(count: Int) throws {
        var normal = Normal(generator: Xoshiro256(seed: 13))
        let a = (0..<count).map { _ in exp(0.1 * normal.next()) }
        let b = (0..<count).map { _ in exp(0.5 + 0.1 * normal.next()) }
        let ratio = try estimator.independentRatio(base: a, new: b)
        let scaled = try estimator.independentRatio(base: a.map { $0 * 1e6 }, new: b.map { $0 * 1e6 })
        #expect(isClose(ratio.value, scaled.value) && isClose(ratio.interval!.upper, scaled.interval!.upper))
        let inverse = try estimator.independentRatio(base: b, new: a)
        #expect(isClose(ratio.value * inverse.value, 1))
        #expect(isClose(ratio.interval!.lower * inverse.interval!.upper, 1, count < 6 ? 1e-9 : 0.02))
    }

    // MARK: Coverage

    /// How often the interval of a known distribution holds the truth. 95 % should; the standard error of such a
    /// share of 1,000 is 0.7 %.
    private func coverage(
        _ experiments: Int = 1000, truth: Double, _ experiment: (inout Normal, Estimator) throws -> IntervalEstimate
    ) rethrows -> Double {
        var normal = Normal(generator: Xoshiro256(seed: 99))
        var hits = 0
        for index in 0..<experiments {
            let estimator = Estimator(seed: UInt64(index), resamples: 300)
            let interval = try experiment(&normal, estimator).interval!
            if interval.lower <= truth && truth <= interval.upper { hits += 1 }
        }
        return Double(hits) / Double(experiments)
    }

    @Test(arguments: [3, 4, 5])
    func studentsIntervalCoversLognormalTimes(count: Int) throws {
        let share = try coverage(truth: 100) { normal, estimator in
            try estimator.median((0..<count).map { _ in 100 * exp(0.05 * normal.next()) })
        }
        #expect((0.93...0.97).contains(share), "\(share)")
    }

    /// The bootstrap of a median, of which few values are possible, errs to the wide side.
    @Test(arguments: [6, 15])
    func bootstrapIntervalCoversSkewedTimes(count: Int) throws {
        let share = try coverage(250, truth: 1) { normal, estimator in
            try estimator.median((0..<count).map { _ in exp(0.3 * normal.next()) })
        }
        #expect((0.92...0.998).contains(share), "\(share)")
    }

    /// Drift that hits both of a pair does not widen the interval of their ratio.
    @Test func pairedRatioCoversUnderDrift() throws {
        var width = 0.0
        let share = try coverage(truth: 1.2) { normal, estimator in
            var base: [Double] = []
            var new: [Double] = []
            for trial in 0..<5 {
                let drift = exp(0.3 * Double(trial) + 0.2 * normal.next())
                base.append(drift * exp(0.01 * normal.next()))
                new.append(1.2 * drift * exp(0.01 * normal.next()))
            }
            let estimate = try estimator.pairedRatio(base: base, new: new)
            width = max(width, estimate.interval!.upper - estimate.interval!.lower)
            return estimate
        }
        #expect((0.93...0.97).contains(share), "\(share)")
        #expect(width < 0.15)
    }

    @Test func independentRatioCovers() throws {
        let share = try coverage(truth: 0.8) { normal, estimator in
            let base = (0..<5).map { _ in exp(0.02 * normal.next()) }
            let new = (0..<4).map { _ in 0.8 * exp(0.06 * normal.next()) }
            return try estimator.independentRatio(base: base, new: new)
        }
        #expect((0.93...0.975).contains(share), "\(share)")
    }

    /// A gate that cries regression without one is switched off soon: of two runs of the same thing, at most 2.5 % may.
    @Test func aGateSeldomCriesWolf() throws {
        var normal = Normal(generator: Xoshiro256(seed: 17))
        var regressed = 0
        var missed = 0
        for _ in 0..<1000 {
            let base = (0..<4).map { _ in exp(0.02 * normal.next()) }
            let same = (0..<4).map { _ in 1.05 * exp(0.02 * normal.next()) }
            let slow = (0..<4).map { _ in 1.3 * exp(0.02 * normal.next()) }
            // The worst case: slower by exactly the limit.
            let borderline = try estimator.independentRatio(base: base, new: same)
            if Verdict(borderline.interval, limit: 0.05) == .regressed { regressed += 1 }
            let bad = try estimator.independentRatio(base: base, new: slow)
            if Verdict(bad.interval, limit: 0.05) != .regressed { missed += 1 }
        }
        #expect(regressed < 40, "\(regressed)")
        #expect(missed < 10, "\(missed)")
    }
}

struct VerdictTests {
    private func verdict(_ lower: Double, _ upper: Double) -> Verdict {
        Verdict(
            ConfidenceInterval(lower: lower, upper: upper, confidence: 0.95, method: .logStudent), limit: 0.05)
    }

    @Test func readsTheIntervalAgainstTheLimit() {
        #expect(verdict(1.06, 1.2) == .regressed)
        #expect(verdict(1.04, 1.2) == .undecided)
        #expect(verdict(0.96, 1.04) == .unchanged)
        #expect(verdict(1.01, 1.04) == .unchanged)
        #expect(verdict(0.96, 0.99) == .unchanged)
        #expect(verdict(0.7, 0.8) == .improved)
        #expect(verdict(0.9, 0.99) == .improved)
        #expect(verdict(0.9, 1.01) == .undecided)
        #expect(verdict(0.5, 2) == .undecided)
        #expect(Verdict(nil, limit: 0.05) == .undecided)
    }

    @Test func knowsWhetherARegressionIsRuledOut() {
        func allows(_ lower: Double, _ upper: Double) -> Bool {
            Verdict.allowsRegression(
                ConfidenceInterval(lower: lower, upper: upper, confidence: 0.95, method: .logStudent), limit: 0.05)
        }
        #expect(!allows(0.9, 1.01))
        #expect(!allows(0.9, 1.05))
        #expect(allows(0.9, 1.06))
        #expect(Verdict.allowsRegression(nil, limit: 0.05))
    }
}
