/// A value and the interval that holds the true one with some confidence.
public struct IntervalEstimate: Sendable, Equatable {
    public var value: Double
    /// Nil with a single observation.
    public var interval: ConfidenceInterval?

    public init(value: Double, interval: ConfidenceInterval?) {
        self.value = value
        self.interval = interval
    }
}

/// A two-sided confidence interval.
public struct ConfidenceInterval: Sendable, Equatable {
    /// How it was computed.
    public enum Method: String, Sendable, CaseIterable {
        /// Quantiles of the bootstrap distribution (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993,
        /// chapter 13).
        case percentileBootstrap = "percentile-bootstrap"
        /// Student's t (paired or one-sample) or Welch's (two-sample) on logarithms.
        case logStudent = "log-student-t"
    }

    public var lower: Double
    public var upper: Double
    /// 0.95 for 95 %.
    public var confidence: Double
    public var method: Method

    public init(lower: Double, upper: Double, confidence: Double, method: Method) {
        self.lower = lower
        self.upper = upper
        self.confidence = confidence
        self.method = method
    }

    /// The same with both ends moved outward as far as needed to hold `value`. The centre of a t interval is a mean,
    /// the value shown with it a median.
    func including(_ value: Double) -> Self {
        var wider = self
        wider.lower = min(lower, value)
        wider.upper = max(upper, value)
        return wider
    }
}
