import Results
import Statistics

/// What a run's suite says about a workload, as far as judging its trials needs it.
struct TrialRules: Equatable {
    enum Warmup: Equatable {
        case detect, keep
        case discard(Int)

        var name: String {
            switch self {
            case .detect: "MSER"
            case .keep: "none"
            case .discard: "discard"
            }
        }
    }

    var warmup = Warmup.detect
    var exitCode: Int32 = 0

    init() {}

    /// Taken from the resolved suite; what is not there has the suite's own defaults.
    init(suite: JSON, workload: String) {
        if suite["warmup"] == "none" {
            warmup = .keep
        } else if case .integer(let rounds)? = suite["warmup"]?["discard"] {
            warmup = .discard(Int(rounds))
        }
        guard case .array(let workloads)? = suite["workloads"],
            let found = workloads.first(where: { $0["name"]?.stringValue == workload }),
            case .integer(let code)? = found["expected"]?["exitCode"]
        else { return }
        exitCode = Int32(truncatingIfNeeded: code)
    }

    /// Nil for a trial that passed, else what is wrong with it.
    func failure(of result: TrialResult) -> String? {
        switch result.status {
        case .exited(let code):
            code == exitCode ? nil : "exit code \(code) instead of \(exitCode)"
        case .signaled(let signal): "ended by signal \(signal)"
        case .failed(let failure): failure.message
        }
    }
}

/// One time of one trial: the median of its rounds after warm-up, or its whole run.
struct TrialTime {
    var nanoseconds: Double
    var rounds: Int
    var discarded: Int
    var unsettled: Bool
    var outliers: OutlierCounts
}

/// The times that a trial result carries, by metric name in the order of its records.
struct TrialTimes {
    private(set) var metrics: [(name: String, unit: MetricAnalysis.Unit, time: TrialTime)] = []

    /// Of a trial that passed. Numbers that are no times (zero, negative, not finite) give no metric.
    init(_ result: TrialResult, rules: TrialRules) {
        var phases: [String] = []
        for sample in result.samples where !phases.contains(sample.phase) { phases.append(sample.phase) }
        for phase in phases {
            let rounds = result.samples.filter { $0.phase == phase }.map(\.nanosecondsPerOperation)
            if let time = Self.time(ofRounds: rounds, rules.warmup) {
                metrics.append((phase, .nanosecondsPerOperation, time))
            }
        }
        if phases.isEmpty, let run = result.programNanoseconds, run > 0, run.isFinite {
            let time = TrialTime(nanoseconds: run, rounds: 1, discarded: 0, unsettled: false, outliers: OutlierCounts())
            metrics = [(MetricAnalysis.run, .nanosecondsPerRun, time)]
        }
    }

    private static func time(ofRounds rounds: [Double], _ policy: TrialRules.Warmup) -> TrialTime? {
        var discarded = 0
        var unsettled = false
        switch policy {
        case .keep: break
        // The last round stays, however few there are.
        case .discard(let count): discarded = min(count, rounds.count - 1)
        case .detect:
            switch try? Warmup.detect(rounds) {
            case .settled(let after)?: discarded = after
            case .unsettled?: unsettled = true
            case nil: return nil
            }
        }
        guard let kept = try? Observations(Array(rounds.dropFirst(discarded))), kept.sorted[0] > 0 else { return nil }
        return TrialTime(
            nanoseconds: kept.median, rounds: rounds.count, discarded: discarded, unsettled: unsettled,
            outliers: OutlierCounts(kept))
    }
}

extension OutlierCounts {
    init(_ observations: Observations) {
        let fences = TukeyFences(observations)
        self.init(samples: observations.count)
        for value in observations.values {
            switch fences.place(of: value) {
            case .lowSevere: lowSevere += 1
            case .lowMild: lowMild += 1
            case .inside: break
            case .highMild: highMild += 1
            case .highSevere: highSevere += 1
            }
        }
    }
}

extension Figure {
    /// An estimate of Statistics, or its refusal.
    init(_ estimate: () throws(StatisticsError) -> IntervalEstimate) {
        do {
            let result = try estimate()
            let interval = result.interval.map {
                Estimate.Interval(
                    lower: $0.lower, upper: $0.upper, confidence: $0.confidence, method: $0.method.rawValue)
            }
            guard result.value.isFinite, interval.map({ $0.lower.isFinite && $0.upper.isFinite }) ?? true else {
                self = .unavailable(reason: "the trials spread too far for an estimate")
                return
            }
            self = .measured(Estimate(value: result.value, interval: interval))
        } catch {
            self = .unavailable(reason: error.description)
        }
    }
}
