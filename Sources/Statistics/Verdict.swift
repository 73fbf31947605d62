/// What a comparison of times says about a change.
public enum Verdict: String, Sendable, Codable, CaseIterable {
    /// Faster with confidence, and possibly by more than the limit.
    case improved
    /// Slower by more than the limit, with confidence.
    case regressed
    /// Within the limit either way, with confidence.
    case unchanged
    /// The interval allows more than one of these, or there is none.
    case undecided

    /// Judges a ratio of times, new to base.
    ///
    /// - Parameter limit: the relative change that matters; 0.05 for 5 %.
    public init(_ interval: ConfidenceInterval?, limit: Double) {
        guard let interval else {
            self = .undecided
            return
        }
        if interval.lower > 1 + limit {
            self = .regressed
        } else if interval.lower >= 1 - limit && interval.upper <= 1 + limit {
            self = .unchanged
        } else if interval.upper < 1 {
            self = .improved
        } else {
            self = .undecided
        }
    }

    /// Whether the interval leaves room for a regression beyond the limit.
    public static func allowsRegression(_ interval: ConfidenceInterval?, limit: Double) -> Bool {
        interval.map { $0.upper > 1 + limit } ?? true
    }
}
