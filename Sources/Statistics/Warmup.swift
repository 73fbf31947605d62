/// Finds the rounds at the start of a trial that are not yet like the rest.
///
/// MSER (White, "An Effective Truncation Heuristic for Bias Reduction in Simulation Output", Simulation 69(6), 1997):
/// leave out the first d values for the d that minimises the squared standard error of the mean of the rest. Trials
/// of `batchedFrom` rounds or more are first averaged in batches of five (MSER-5: White, Cobb & Spratt, "A Comparison
/// of Five Steady-State Truncation Heuristics for Simulation", WSC 2000).
///
/// MSER alone also cuts off a lone spike with everything before it. A cut therefore counts only if what is cut off is
/// unlike the rest: its median lies outside Tukey's inner fences of the rest.
public enum Warmup {
    /// Fewest rounds in which warm-up is looked for.
    public static let minimumRounds = 10
    /// Rounds from which batches are used.
    public static let batchedFrom = 50
    static let batch = 5

    public enum Result: Sendable, Equatable {
        /// This many rounds at the start are warm-up; often 0.
        case settled(after: Int)
        /// The best cut is half of the rounds: the trial was too short to settle, or its times drift.
        case unsettled
    }

    /// - Parameter rounds: times in the order in which they were taken.
    /// - Throws: `StatisticsError.notFinite`.
    public static func detect(_ rounds: [Double]) throws(StatisticsError) -> Result {
        if let index = rounds.firstIndex(where: { !$0.isFinite }) { throw .notFinite(index: index) }
        guard rounds.count >= minimumRounds else { return .settled(after: 0) }
        let size = rounds.count >= batchedFrom ? batch : 1
        let series = stride(from: 0, through: rounds.count - size, by: size).map { start in
            rounds[start..<start + size].reduce(0, +) / Double(size)
        }
        // A cut beyond half of the run says that the run was too short (White 1997, section 3).
        let limit = series.count / 2
        var best = (cut: 0, score: score(series[...]))
        for cut in 1...limit {
            let score = score(series[cut...])
            if score < best.score, try isUnlike(series[..<cut], series[cut...]) { best = (cut, score) }
        }
        return best.cut == limit ? .unsettled : .settled(after: best.cut * size)
    }

    /// Squared standard error of the mean, as MSER has it: the sum of squared deviations over the count squared.
    private static func score(_ values: ArraySlice<Double>) -> Double {
        let count = Double(values.count)
        let mean = values.reduce(0, +) / count
        return values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / (count * count)
    }

    private static func isUnlike(_ head: ArraySlice<Double>, _ rest: ArraySlice<Double>) throws(StatisticsError) -> Bool
    {
        let fences = TukeyFences(try Observations(Array(rest)))
        let median = try Observations(Array(head)).median
        return median < fences.innerLower || median > fences.innerUpper
    }
}
