import Results

/// What a trial's time and exits are divided by.
public enum CostUnit: Sendable, Equatable {
    /// One operation of the program's only phase.
    case operation
    /// One operation of this phase, of a program that may have several.
    case phase(String)
    /// The whole run of a program that times nothing itself.
    case run
    /// All timed rounds of a trial: the program has several phases, taken together.
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
        /// Of all rounds, warm-up included.
        var total: Double
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
            let total =
                unit == .nanosecondsPerRun
                ? time.nanoseconds
                : result.samples.reduce(0) { $1.phase == name ? $0 + $1.nanoseconds : $0 }
            return Phase(name: name, nanoseconds: time.nanoseconds, operations: operations, total: total)
        }
        roundNanoseconds =
            result.samples.isEmpty
            ? result.programNanoseconds ?? 0 : result.samples.reduce(0) { $0 + $1.nanoseconds }
    }

    /// Number of units in the trial.
    func count(of unit: CostUnit) -> Double {
        switch unit {
        case .trial: 1
        case .phase(let name): phases.first { $0.name == name }?.operations ?? 0
        case .operation, .run: phases.first?.operations ?? 0
        }
    }

    /// Time of a unit as reports show it, for as many operations of each phase as `amount` did; nil without times of all phases.
    func nanoseconds(per unit: CostUnit, amount: TimedWork) -> Double? {
        time(per: unit, amount: amount) { $0.nanoseconds }
    }

    /// The same in the mean of all rounds, warm-up included: what ledgers are of.
    func meanNanoseconds(per unit: CostUnit, amount: TimedWork) -> Double? {
        time(per: unit, amount: amount) { $0.operations > 0 ? $0.total / $0.operations : 0 }
    }

    private func time(per unit: CostUnit, amount: TimedWork, of phase: (Phase) -> Double) -> Double? {
        switch unit {
        case .operation, .run: return phases.first.map(phase)
        case .phase(let name): return phases.first { $0.name == name }.map(phase)
        case .trial(let names):
            var sum = 0.0
            for name in names {
                guard let own = phases.first(where: { $0.name == name }),
                    let done = amount.phases.first(where: { $0.name == name })
                else { return nil }
                sum += phase(own) * done.operations
            }
            return sum
        }
    }
}
