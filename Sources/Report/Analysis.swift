import Results
import Statistics

extension RunReport {
    /// Computes the analysis of every cell and placement from the trials that are there. Call it before writing a
    /// report, finished or not; the same trials and seed always give the same numbers.
    public mutating func analyze() {
        let estimator = Estimator(seed: seed)
        let natives = Dictionary(grouping: cells.filter { $0.backend == "native" }, by: \.workload)
        for index in cells.indices {
            let cell = cells[index]
            // A variant's counterpart where native has it too, else native's only form.
            let native = natives[cell.workload].flatMap { list in
                list.first { $0.variant == cell.variant } ?? list.first
            }
            let analyzer = CellAnalyzer(
                rules: TrialRules(suite: suite.resolved, workload: cell.workload), estimator: estimator,
                tscHertz: host.tscHertz)
            cells[index].analysis = analyzer.analyze(cell, native: native)
        }
        for index in colocations.indices {
            let rules = TrialRules(suite: suite.resolved, workload: colocations[index].victim)
            colocations[index].analyze(rules: rules, estimator: estimator)
        }
    }
}

/// Times of one metric over the trials of a cell or placement that passed, by trial index.
struct MetricTimes {
    var name: String
    var unit: MetricAnalysis.Unit
    var times: [(index: Int, time: TrialTime)]

    /// All metrics, in the order in which they first appear.
    static func collect(_ trials: [(index: Int, result: TrialResult)], rules: TrialRules) -> [MetricTimes] {
        var metrics: [MetricTimes] = []
        for (index, result) in trials.sorted(by: { $0.index < $1.index }) where rules.failure(of: result) == nil {
            for (name, unit, time) in TrialTimes(result, rules: rules).metrics {
                if let known = metrics.firstIndex(where: { $0.name == name && $0.unit == unit }) {
                    metrics[known].times.append((index, time))
                } else {
                    metrics.append(MetricTimes(name: name, unit: unit, times: [(index, time)]))
                }
            }
        }
        return metrics
    }

    var values: [Double] { times.map(\.time.nanoseconds) }

    /// Values of both at the trial indices that both have.
    func paired(with base: MetricTimes) -> (base: [Double], new: [Double]) {
        let baseline = Dictionary(base.times.map { ($0.index, $0.time.nanoseconds) }) { first, _ in first }
        let pairs = times.compactMap { entry in baseline[entry.index].map { ($0, entry.time.nanoseconds) } }
        return (pairs.map(\.0), pairs.map(\.1))
    }

    /// Ratio of paired trials, or why there is none.
    func slowdown(against base: MetricTimes?, named baseName: String, _ estimator: Estimator) -> Figure {
        guard let base else { return .unavailable(reason: "no \(baseName) time to compare with") }
        let (baseValues, values) = paired(with: base)
        if values.isEmpty { return .unavailable(reason: "no trial passed both here and \(baseName)") }
        return Figure { () throws(StatisticsError) in try estimator.pairedRatio(base: baseValues, new: values) }
    }
}

/// Messages of failed trials, most frequent first, in order of appearance among equals.
func distinctFailures(_ results: [TrialResult], rules: TrialRules) -> (failed: Int, messages: [String]) {
    let messages = results.compactMap(rules.failure(of:))
    var counts: [String: Int] = [:]
    var order: [String] = []
    for message in messages {
        if counts[message] == nil { order.append(message) }
        counts[message, default: 0] += 1
    }
    let sorted = order.enumerated().sorted { (counts[$0.element]!, $1.offset) > (counts[$1.element]!, $0.offset) }
    return (messages.count, sorted.map(\.element))
}

/// Analyses one cell.
private struct CellAnalyzer {
    var rules: TrialRules
    var estimator: Estimator
    var tscHertz: Double?

    func analyze(_ cell: CellRecord, native: CellRecord?) -> CellAnalysis {
        let (failed, failures) = distinctFailures(cell.trials.map(\.result), rules: rules)
        let nativeMetrics =
            native.map { MetricTimes.collect($0.trials.map { ($0.index, $0.result) }, rules: rules) } ?? []
        let metrics = MetricTimes.collect(cell.trials.map { ($0.index, $0.result) }, rules: rules).map { metric in
            MetricAnalysis(
                name: metric.name, unit: metric.unit,
                time: Figure { () throws(StatisticsError) in try estimator.median(metric.values) },
                slowdown: slowdown(metric, cell, nativeMetrics),
                trialTimes: metric.times.map { .init(index: $0.index, nanoseconds: $0.time.nanoseconds) },
                warmup: warmup(metric), outliers: outliers(metric))
        }
        let exits = ExitTotals(cell.trials.map(\.result).filter { rules.failure(of: $0) == nil }, tscHertz: tscHertz)
        return CellAnalysis(
            trialsPassed: cell.trials.count - failed, trialsFailed: failed, failures: failures, metrics: metrics,
            exitsPerSecond: exits.perSecond, meanExitNanoseconds: exits.meanNanoseconds, exitTimeShare: exits.timeShare)
    }

    private func slowdown(_ metric: MetricTimes, _ cell: CellRecord, _ native: [MetricTimes]) -> Figure {
        // Against itself it is 1 by definition, with nothing to be unsure of.
        if cell.backend == "native" { return Figure(1) }
        let base = native.first { $0.name == metric.name && $0.unit == metric.unit }
        return metric.slowdown(against: base, named: "native", estimator)
    }

    private func warmup(_ metric: MetricTimes) -> WarmupAnalysis {
        let times = metric.times.map(\.time)
        return WarmupAnalysis(
            method: rules.warmup.name, maximumRounds: times.map(\.discarded).max() ?? 0,
            discardedRounds: times.reduce(0) { $0 + $1.discarded }, totalRounds: times.reduce(0) { $0 + $1.rounds },
            unsettledTrials: times.count { $0.unsettled })
    }

    /// Among the rounds of each trial; for whole runs, among the trials.
    private func outliers(_ metric: MetricTimes) -> OutlierCounts {
        if metric.unit == .nanosecondsPerRun {
            return (try? Observations(metric.values)).map(OutlierCounts.init) ?? OutlierCounts()
        }
        return metric.times.reduce(OutlierCounts()) { $0 + $1.time.outliers }
    }
}

/// Exits of a cell's trials that passed, together.
struct ExitTotals {
    /// The exit of a halted vCPU lasts until there is something to do: waiting, not cost.
    static let waitingReason = "halt"

    private var count: UInt64 = 0
    private var busyCount: UInt64 = 0
    private var busyCycles = 0.0
    private var seconds = 0.0
    private var absent: String?
    private var tscHertz: Double?

    init(_ results: [TrialResult], tscHertz: Double?) {
        self.tscHertz = tscHertz
        if results.isEmpty { absent = "no trial passed" }
        for result in results {
            guard let exits = result.exits else {
                absent = result.exitsUnavailable ?? "the backend gave no ledger"
                continue
            }
            seconds += result.ledgerNanoseconds / 1e9
            for exit in exits where exit.handler != .inline {
                count += exit.count
                guard exit.reason != Self.waitingReason, let times = exit.times else { continue }
                busyCount += exit.count
                busyCycles += Double(times.totalCycles)
            }
        }
    }

    var perSecond: Figure {
        if let absent { return .unavailable(reason: absent) }
        return seconds > 0 ? Figure(Double(count) / seconds) : .unavailable(reason: "no time was measured")
    }

    var meanNanoseconds: Figure {
        if let absent { return .unavailable(reason: absent) }
        guard let tscHertz, tscHertz > 0 else { return .unavailable(reason: "the TSC frequency is unknown") }
        if busyCount == 0 { return .unavailable(reason: "there were no exits") }
        return Figure(busyCycles / Double(busyCount) / tscHertz * 1e9)
    }

    var timeShare: Figure {
        if let absent { return .unavailable(reason: absent) }
        guard let tscHertz, tscHertz > 0 else { return .unavailable(reason: "the TSC frequency is unknown") }
        return seconds > 0 ? Figure(busyCycles / tscHertz / seconds) : .unavailable(reason: "no time was measured")
    }
}

extension TrialResult {
    /// The time that a ledger covers: from the machine's start to the program's end.
    var ledgerNanoseconds: Double {
        if let bootNanoseconds, let programNanoseconds { return bootNanoseconds + programNanoseconds }
        return totalNanoseconds
    }
}

extension ColocationRecord {
    fileprivate mutating func analyze(rules: TrialRules, estimator: Estimator) {
        func metric(_ placement: PlacementRecord) -> MetricTimes? {
            MetricTimes.collect(placement.trials.map { ($0.index, $0.victim) }, rules: rules).first
        }
        let alone = placements.first { $0.placement == .alone }.flatMap(metric)
        for index in placements.indices {
            let placement = placements[index]
            let results = placement.trials.map(\.victim)
            let (failed, failures) = distinctFailures(results, rules: rules)
            guard let times = metric(placement) else {
                let reason = placement.skipped ?? failures.first ?? "no trial was run"
                placements[index].analysis = PlacementAnalysis(
                    trialsPassed: results.count - failed, trialsFailed: failed, failures: failures,
                    metric: alone?.name ?? MetricAnalysis.run, unit: alone?.unit ?? .nanosecondsPerRun,
                    time: .unavailable(reason: reason), slowdown: .unavailable(reason: reason))
                continue
            }
            let matching = alone?.name == times.name && alone?.unit == times.unit ? alone : nil
            placements[index].analysis = PlacementAnalysis(
                trialsPassed: results.count - failed, trialsFailed: failed, failures: failures, metric: times.name,
                unit: times.unit, time: Figure { () throws(StatisticsError) in try estimator.median(times.values) },
                slowdown: placement.placement == .alone
                    ? Figure(1) : times.slowdown(against: matching, named: "alone", estimator))
        }
    }
}
