import Results

/// The CSV files of a report. Columns are only ever added at the end. docs/reports.md describes them.
public enum CSVReports {
    // MARK: summary.csv

    /// One line for each cell and metric; a cell without a metric has one line that says why.
    public static func summary(_ report: RunReport) -> String {
        var table = CSVTable(columns: [
            "workload", "backend", "variant", "metric", "unit", "trials_planned", "trials_passed", "trials_failed",
            "time", "time_lower", "time_upper", "slowdown", "slowdown_lower", "slowdown_upper", "confidence",
            "exits_per_second", "mean_exit_ns", "exit_time_share", "warmup_rounds", "rounds", "outliers",
            "time_reason", "slowdown_reason", "exits_reason",
        ])
        for cell in report.cells {
            guard let analysis = cell.analysis else { continue }
            func append(_ metric: MetricAnalysis?) {
                let missing = cell.missingReason ?? "no time was recorded"
                let exits = [analysis.exitsPerSecond, analysis.meanExitNanoseconds, analysis.exitTimeShare]
                let time = metric?.time.estimate
                let slowdown = metric?.slowdown.estimate
                table.append([
                    cell.workload, cell.backend, cell.variant, metric?.name, metric?.unit.rawValue,
                    csv(cell.plannedTrials), csv(analysis.trialsPassed), csv(analysis.trialsFailed),
                    csv(time?.value), csv(time?.interval?.lower), csv(time?.interval?.upper),
                    csv(slowdown?.value), csv(slowdown?.interval?.lower), csv(slowdown?.interval?.upper),
                    csv((time?.interval ?? slowdown?.interval)?.confidence),
                    csv(exits[0].value), csv(exits[1].value), csv(exits[2].value),
                    csv(metric?.warmup.discardedRounds), csv(metric?.warmup.totalRounds), csv(metric?.outliers.total),
                    metric == nil ? missing : metric?.time.reason, metric == nil ? missing : metric?.slowdown.reason,
                    exits.lazy.compactMap(\.reason).first,
                ])
            }
            if analysis.metrics.isEmpty { append(nil) } else { analysis.metrics.forEach(append) }
        }
        return table.text
    }

    // MARK: samples.csv

    /// One line for each round of each trial; a trial without rounds has one line, for its whole run or for its
    /// failure.
    public static func samples(_ report: RunReport) -> String {
        var table = CSVTable(
            columns: RunKey.columns + [
                "cpu", "started_seconds", "status", "phase", "round", "nanoseconds", "operations", "ns_per_operation",
                "reason",
            ])
        for run in report.runs {
            let result = run.result
            let common = run.key.fields + [csv(run.cpu), csv(run.startedSeconds), result.statusName]
            let reason = run.rules.failure(of: result)
            if result.samples.isEmpty {
                let time = result.programNanoseconds
                table.append(
                    common + [
                        time == nil ? nil : MetricAnalysis.run, nil, csv(time), nil, nil,
                        reason ?? (time == nil ? "the program's time is unknown" : nil),
                    ])
            }
            var rounds: [String: Int] = [:]
            for sample in result.samples {
                let round = rounds[sample.phase, default: 0]
                rounds[sample.phase] = round + 1
                table.append(
                    common + [
                        sample.phase, csv(round), csv(sample.nanoseconds), csv(sample.operations),
                        csv(sample.nanosecondsPerOperation), reason,
                    ])
            }
        }
        return table.text
    }

    // MARK: exits.csv

    /// One line for each reason of each trial's ledger; a trial without a ledger has one line that says why.
    public static func exits(_ report: RunReport) -> String {
        var table = CSVTable(
            columns: RunKey.columns + [
                "exit_reason", "count", "total_cycles", "mean_cycles", "min_cycles", "median_cycles", "p99_cycles",
                "max_cycles", "mean_ns", "unavailable", "phase", "raw_reason", "handler",
            ])
        let hertz = report.host.tscHertz.flatMap { $0 > 0 ? $0 : nil }
        for run in report.runs {
            guard let exits = run.result.exits else {
                let reason = run.result.exitsUnavailable ?? run.rules.failure(of: run.result)
                table.append(
                    run.key.fields + Array(repeating: nil, count: 9) + [reason ?? "the backend gave no ledger"]
                        + Array(repeating: nil, count: 3))
                continue
            }
            for exit in exits {
                let times = exit.times
                let mean = times.flatMap { exit.count > 0 ? Double($0.totalCycles) / Double(exit.count) : nil }
                let nanoseconds = mean.flatMap { mean in hertz.map { mean / $0 * 1e9 } }
                table.append(
                    run.key.fields + [
                        exit.reason, csv(exit.count), times.flatMap { csv($0.totalCycles) }, csv(mean),
                        times.flatMap { csv($0.minimumCycles) }, times.flatMap { csv($0.medianCycles) },
                        times.flatMap { csv($0.p99Cycles) }, times.flatMap { csv($0.maximumCycles) }, csv(nanoseconds),
                        exit.timesUnavailable ?? (hertz == nil ? "the TSC frequency is unknown" : nil),
                        exit.phase, exit.rawReason, exit.handler.rawValue,
                    ])
            }
        }
        return table.text
    }
}

/// What tells one trial result from every other of a report.
private struct RunKey {
    static let columns = [
        "workload", "backend", "variant", "colocation", "placement", "role", "trial", "run", "order",
    ]

    var workload: String
    var backend: String
    /// Empty in a co-location, as the next three are elsewhere.
    var variant: String?
    var colocation: String?
    var placement: String?
    var role: String?
    var trial: Int
    /// Number of an aggressor's run within the trial; 0 of all others.
    var run = 0
    var order: Int

    var fields: [String?] {
        [workload, backend, variant, colocation, placement, role, csv(trial), csv(run), csv(order)]
    }
}

/// One trial result of a report with where it belongs.
private struct Run {
    var key: RunKey
    var cpu: Int?
    var startedSeconds: Double
    var result: TrialResult
    var rules: TrialRules
}

extension RunReport {
    /// Every trial result: cells first, co-locations after.
    fileprivate var runs: [Run] {
        var runs: [Run] = []
        for cell in cells {
            let rules = TrialRules(suite: suite.resolved, workload: cell.workload)
            for trial in cell.trials {
                let key = RunKey(
                    workload: cell.workload, backend: cell.backend, variant: cell.variant, trial: trial.index,
                    order: trial.order)
                runs.append(
                    Run(
                        key: key, cpu: trial.cpu, startedSeconds: trial.startedSeconds, result: trial.result,
                        rules: rules))
            }
        }
        for colocation in colocations {
            let victimRules = TrialRules(suite: suite.resolved, workload: colocation.victim)
            let aggressorRules = TrialRules(suite: suite.resolved, workload: colocation.aggressor)
            for placement in colocation.placements {
                for trial in placement.trials {
                    var key = RunKey(
                        workload: colocation.victim, backend: colocation.backend, colocation: colocation.name,
                        placement: placement.placement.rawValue, role: "victim", trial: trial.index, order: trial.order)
                    runs.append(
                        Run(
                            key: key, cpu: trial.victimCPU, startedSeconds: trial.startedSeconds, result: trial.victim,
                            rules: victimRules))
                    key.workload = colocation.aggressor
                    key.role = "aggressor"
                    for (index, aggressor) in trial.aggressors.enumerated() {
                        key.run = index
                        runs.append(
                            Run(
                                key: key, cpu: trial.aggressorCPU, startedSeconds: trial.startedSeconds,
                                result: aggressor, rules: aggressorRules))
                    }
                }
            }
        }
        return runs
    }
}

extension TrialResult {
    /// "exited", "signaled", or the kind of the failure.
    fileprivate var statusName: String {
        switch status {
        case .exited: "exited"
        case .signaled: "signaled"
        case .failed(let failure): failure.kind.rawValue
        }
    }
}

extension CellRecord {
    /// Why the cell has no time; nil if it has one.
    var missingReason: String? {
        guard let analysis, analysis.metrics.isEmpty else { return nil }
        if let skipped { return skipped }
        if let failure = analysis.failures.first { return failure }
        return trials.isEmpty ? "no trial was run" : "no time was recorded"
    }
}
