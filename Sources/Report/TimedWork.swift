import Results

/// What a trial's time and exits are divided by.
public enum CostUnit: Sendable, Equatable {
    /// One operation of the program's only phase.
    case operation
    /// The whole run of a program that times nothing itself.
    case run
    /// All timed rounds of a trial: the program has several phases, which ledgers do not tell apart.
    case trial(phases: [String])

    /// Of a workload's trials that passed.
    init(_ works: [TimedWork]) {
        var phases: [String] = []
        for phase in works.flatMap(\.phases) where !phases.contains(phase.name) { phases.append(phase.name) }
        self = phases.count > 1 ? .trial(phases: phases) : phases == [MetricAnalysis.run] ? .run : .operation
    }
}

/// What a trial did in the rounds that it timed, and how long that took.
struct TimedWork {
    struct Phase {
        var name: String
        /// Of an operation, or of the run: the time that reports show.
        var nanoseconds: Double
        /// In all rounds, warm-up included; 1 of a whole run.
        var operations: Double
    }

    var phases: [Phase]
    /// All rounds together, warm-up included.
    var roundNanoseconds: Double

    /// Of a trial that passed.
    init(_ result: TrialResult, rules: TrialRules) {
        phases = TrialTimes(result, rules: rules).metrics.map { name, unit, time in
            let operations =
                unit == .nanosecondsPerRun
                ? 1
                : result.samples.reduce(0) { $1.phase == name ? $0 + Double(max(1, $1.operations)) : $0 }
            return Phase(name: name, nanoseconds: time.nanoseconds, operations: operations)
        }
        roundNanoseconds =
            result.samples.isEmpty
            ? result.programNanoseconds ?? 0 : result.samples.reduce(0) { $0 + $1.nanoseconds }
    }

    /// Number of units in the trial.
    func count(of unit: CostUnit) -> Double {
        if case .trial = unit { return 1 }
        return phases.first?.operations ?? 0
    }

    /// Time of a unit, for as many operations of each phase as `amount` did; nil without times of all phases.
    func nanoseconds(per unit: CostUnit, amount: TimedWork) -> Double? {
        guard case .trial(let names) = unit else { return phases.first?.nanoseconds }
        var sum = 0.0
        for name in names {
            guard let own = phases.first(where: { $0.name == name }),
                let done = amount.phases.first(where: { $0.name == name })
            else { return nil }
            sum += own.nanoseconds * done.operations
        }
        return sum
    }
}
