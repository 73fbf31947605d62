import Results

/// Is told how a run goes on.
public protocol RunProgress: AnyObject {
    /// The run begins.
    func began(total: Int)
    /// A trial begins.
    func started(_ title: String, number: Int)
    /// Time passes; called about ten times a second while a trial runs.
    func tick()
    /// A trial is over.
    func finished(_ title: String, number: Int, result: TrialResult, remainingSeconds: Double?)
    /// Something worth a line, e.g. a skipped backend.
    func note(_ line: String)
    /// The run is over or was ended.
    func ended()
}

/// How long the rest of a run will take, from the trials so far.
struct RemainingTime {
    private var durations: [Plan.Step.Subject: (seconds: Double, count: Int)] = [:]

    mutating func add(_ seconds: Double, of subject: Plan.Step.Subject) {
        let known = durations[subject] ?? (0, 0)
        durations[subject] = (known.seconds + seconds, known.count + 1)
    }

    /// Seconds that `steps` will take; subjects never run count as the mean of the others. Nil before the first trial.
    func seconds(for steps: ArraySlice<Plan.Step>) -> Double? {
        guard !durations.isEmpty else { return nil }
        let means = durations.mapValues { $0.seconds / Double($0.count) }
        let typical = means.values.reduce(0, +) / Double(means.count)
        return steps.reduce(0) { $0 + (means[$1.subject] ?? typical) }
    }
}
