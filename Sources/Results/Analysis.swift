/// A computed number with its confidence interval, or the reason why there is none.
public enum Figure: Sendable, Equatable {
    case measured(Estimate)
    case unavailable(reason: String)

    /// A number without an interval; one that is not finite becomes unavailable.
    public init(_ value: Double) {
        self = value.isFinite ? .measured(Estimate(value: value)) : .unavailable(reason: "not a finite number")
    }

    public var estimate: Estimate? {
        if case .measured(let estimate) = self { return estimate }
        return nil
    }

    public var value: Double? { estimate?.value }

    public var reason: String? {
        if case .unavailable(let reason) = self { return reason }
        return nil
    }
}

public struct Estimate: Sendable, Equatable {
    public var value: Double
    /// Nil where there are too few trials for one.
    public var interval: Interval?

    public init(value: Double, interval: Interval? = nil) {
        self.value = value
        self.interval = interval
    }

    public struct Interval: Codable, Sendable, Equatable {
        public var lower: Double
        public var upper: Double
        /// 0.95 for 95 %.
        public var confidence: Double
        /// How it was computed, a name from Statistics.
        public var method: String

        public init(lower: Double, upper: Double, confidence: Double, method: String) {
            self.lower = lower
            self.upper = upper
            self.confidence = confidence
            self.method = method
        }
    }
}

/// What the trials of a cell say.
public struct CellAnalysis: Codable, Sendable, Equatable {
    /// Trials that ended well, and those that did not.
    public var trialsPassed: Int
    public var trialsFailed: Int
    /// Distinct failure messages, most frequent first.
    public var failures: [String]
    /// One for each timed phase of the program, in the order of its records; the first is what tables show. A program
    /// without records has one, `run`.
    public var metrics: [MetricAnalysis]
    /// Exits per second of guest time.
    public var exitsPerSecond: Figure
    /// Mean host time of an exit, in nanoseconds.
    public var meanExitNanoseconds: Figure
    /// Share of guest time spent in exits, 0 to 1.
    public var exitTimeShare: Figure

    public init(
        trialsPassed: Int, trialsFailed: Int, failures: [String], metrics: [MetricAnalysis], exitsPerSecond: Figure,
        meanExitNanoseconds: Figure, exitTimeShare: Figure
    ) {
        self.trialsPassed = trialsPassed
        self.trialsFailed = trialsFailed
        self.failures = failures
        self.metrics = metrics
        self.exitsPerSecond = exitsPerSecond
        self.meanExitNanoseconds = meanExitNanoseconds
        self.exitTimeShare = exitTimeShare
    }
}

/// One time of a cell: an operation of a phase, or the whole run.
public struct MetricAnalysis: Codable, Sendable, Equatable {
    /// Name of a metric that is the program's whole run.
    public static let run = "run"

    public enum Unit: String, Codable, Sendable, CaseIterable {
        case nanosecondsPerOperation = "ns/op"
        case nanosecondsPerRun = "ns/run"
    }

    /// The phase, or `run`.
    public var name: String
    public var unit: Unit
    /// Median over trials of each trial's median round after warm-up.
    public var time: Figure
    /// Time against the native trials of the same index; 1 for native itself.
    public var slowdown: Figure
    /// The trials' times that `time` comes from, by trial index.
    public var trialTimes: [TrialTime]
    public var warmup: WarmupAnalysis
    public var outliers: OutlierCounts

    public init(
        name: String, unit: Unit, time: Figure, slowdown: Figure, trialTimes: [TrialTime], warmup: WarmupAnalysis,
        outliers: OutlierCounts
    ) {
        self.name = name
        self.unit = unit
        self.time = time
        self.slowdown = slowdown
        self.trialTimes = trialTimes
        self.warmup = warmup
        self.outliers = outliers
    }

    public struct TrialTime: Codable, Sendable, Equatable {
        public var index: Int
        public var nanoseconds: Double

        public init(index: Int, nanoseconds: Double) {
            self.index = index
            self.nanoseconds = nanoseconds
        }
    }
}

/// Rounds at the start of trials that did not count.
public struct WarmupAnalysis: Codable, Sendable, Equatable {
    /// `MSER`, `discard` or `none`.
    public var method: String
    /// Most rounds left out in any trial.
    public var maximumRounds: Int
    /// Rounds left out and rounds there were, over all trials.
    public var discardedRounds: Int
    public var totalRounds: Int
    /// Trials that did not settle in the first half of their rounds; all of their rounds were kept.
    public var unsettledTrials: Int

    public init(method: String, maximumRounds: Int, discardedRounds: Int, totalRounds: Int, unsettledTrials: Int) {
        self.method = method
        self.maximumRounds = maximumRounds
        self.discardedRounds = discardedRounds
        self.totalRounds = totalRounds
        self.unsettledTrials = unsettledTrials
    }
}

/// Rounds outside Tukey's fences, counted and kept.
public struct OutlierCounts: Codable, Sendable, Equatable {
    public var samples: Int
    public var lowSevere: Int
    public var lowMild: Int
    public var highMild: Int
    public var highSevere: Int

    public init(samples: Int = 0, lowSevere: Int = 0, lowMild: Int = 0, highMild: Int = 0, highSevere: Int = 0) {
        self.samples = samples
        self.lowSevere = lowSevere
        self.lowMild = lowMild
        self.highMild = highMild
        self.highSevere = highSevere
    }

    public var total: Int { lowSevere + lowMild + highMild + highSevere }

    public static func + (a: Self, b: Self) -> Self {
        Self(
            samples: a.samples + b.samples, lowSevere: a.lowSevere + b.lowSevere, lowMild: a.lowMild + b.lowMild,
            highMild: a.highMild + b.highMild, highSevere: a.highSevere + b.highSevere)
    }
}

/// What the trials of a placement say.
public struct PlacementAnalysis: Codable, Sendable, Equatable {
    public var trialsPassed: Int
    public var trialsFailed: Int
    public var failures: [String]
    /// The phase, or `run`.
    public var metric: String
    public var unit: MetricAnalysis.Unit
    /// Victim's time.
    public var time: Figure
    /// Against the victim alone, same trial index; 1 for alone itself.
    public var slowdown: Figure

    public init(
        trialsPassed: Int, trialsFailed: Int, failures: [String], metric: String, unit: MetricAnalysis.Unit,
        time: Figure, slowdown: Figure
    ) {
        self.trialsPassed = trialsPassed
        self.trialsFailed = trialsFailed
        self.failures = failures
        self.metric = metric
        self.unit = unit
        self.time = time
        self.slowdown = slowdown
    }
}
