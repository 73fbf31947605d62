import Results
import Statistics

/// Two reports side by side, cell by cell, and what a gate makes of them.
public struct Comparison: Sendable, Equatable {
    /// Exit codes of `vbench compare`.
    public enum Outcome: Int32, Sendable {
        /// No regression beyond the limit.
        case passed = 0
        /// At least one cell regressed beyond the limit, with confidence, or fails where it passed before.
        case regressed = 1
        /// The reports have nothing in common to compare.
        case unusable = 2
        /// No regression is sure, but at least one cell leaves room for one.
        case undecided = 3
    }

    /// One metric of one cell.
    public struct Row: Sendable, Equatable {
        public var workload: String
        public var backend: String
        public var variant: String
        /// The phase, or `run`; empty for a cell without a time in both reports.
        public var metric: String
        public var unit: MetricAnalysis.Unit?
        public var base: Figure
        public var new: Figure
        /// Time of new over time of base.
        public var ratio: Figure
        public var verdict: Verdict
        /// Whether the new report may hide a regression beyond the limit here.
        public var allowsRegression: Bool
        /// Why there is no ratio, or what the verdict comes from when it is not the ratio.
        public var note: String?
    }

    /// The relative change that matters, 0.05 for 5 %.
    public var limit: Double
    /// Cells of base in its order, then those only new has.
    public var rows: [Row]
    /// Differences between the hosts and runs that make times hard to compare.
    public var warnings: [String]

    /// Compares `new` with `base`.
    ///
    /// Trials of different runs are no pairs, so the ratio is that of independent groups.
    ///
    /// - Parameter limit: the relative slowdown that counts as a regression, positive.
    public init(base: RunReport, new: RunReport, limit: Double) {
        precondition(limit > 0 && limit.isFinite, "a limit is positive")
        self.limit = limit
        warnings = Self.warnings(base, new)
        rows = []
        let estimator = Estimator(seed: base.seed)
        for cell in base.cells {
            let other = new.cell(workload: cell.workload, backend: cell.backend, variant: cell.variant)
            let baseCell = Side(cell, in: base)
            guard let other else {
                let note = "not in the new report"
                rows.append(
                    Row(
                        cell, verdict: .undecided, allowsRegression: !baseCell.metrics.isEmpty,
                        base: baseCell.figure(estimator), new: .unavailable(reason: note), note: note))
                continue
            }
            rows += Self.rows(baseCell, Side(other, in: new), estimator, limit)
        }
        for cell in new.cells
        where base.cell(workload: cell.workload, backend: cell.backend, variant: cell.variant) == nil {
            let note = "not in the base report"
            rows.append(
                Row(
                    cell, verdict: .undecided, allowsRegression: false, base: .unavailable(reason: note),
                    new: Side(cell, in: new).figure(estimator), note: note))
        }
    }

    public var outcome: Outcome {
        if rows.contains(where: { $0.verdict == .regressed }) { return .regressed }
        if !rows.contains(where: { $0.ratio.value != nil }) { return .unusable }
        return rows.contains(where: \.allowsRegression) ? .undecided : .passed
    }

    public func count(of verdict: Verdict) -> Int { rows.count { $0.verdict == verdict } }

    // MARK: Cells

    /// A cell of one of the reports.
    private struct Side {
        var cell: CellRecord
        var metrics: [MetricTimes]
        /// Why there are no metrics.
        var missing: String?
        var failed: Bool

        init(_ cell: CellRecord, in report: RunReport) {
            self.cell = cell
            let rules = TrialRules(suite: report.suite.resolved, workload: cell.workload)
            metrics = MetricTimes.collect(cell.trials.map { ($0.index, $0.result) }, rules: rules)
            let (failedTrials, failures) = distinctFailures(cell.trials.map(\.result), rules: rules)
            failed = metrics.isEmpty && failedTrials > 0
            if metrics.isEmpty {
                missing = cell.skipped ?? failures.first ?? (cell.trials.isEmpty ? "no trial was run" : "no time")
            }
        }

        /// Time of the first metric.
        func figure(_ estimator: Estimator) -> Figure {
            guard let metric = metrics.first else { return .unavailable(reason: missing ?? "no time") }
            return Figure { () throws(StatisticsError) in try estimator.median(metric.values) }
        }
    }

    private static func rows(_ base: Side, _ new: Side, _ estimator: Estimator, _ limit: Double) -> [Row] {
        if let missing = new.missing {
            // What passed and now fails has regressed; what was not run at all is not known.
            let verdict: Verdict = new.failed && base.missing == nil ? .regressed : .undecided
            let note = new.failed ? "new failed: " + missing : "new was not run: " + missing
            return [
                Row(
                    base.cell, verdict: verdict, allowsRegression: base.missing == nil, base: base.figure(estimator),
                    new: .unavailable(reason: missing), note: note)
            ]
        }
        if let missing = base.missing {
            return [
                Row(
                    base.cell, verdict: .undecided, allowsRegression: false, base: .unavailable(reason: missing),
                    new: new.figure(estimator), note: "base has no time: " + missing)
            ]
        }
        return base.metrics.map { metric in
            var row = Row(
                base.cell, verdict: .undecided, allowsRegression: true, base: .unavailable(reason: ""),
                new: .unavailable(reason: ""), note: nil)
            row.metric = metric.name
            row.unit = metric.unit
            row.base = Figure { () throws(StatisticsError) in try estimator.median(metric.values) }
            guard let other = new.metrics.first(where: { $0.name == metric.name && $0.unit == metric.unit }) else {
                row.note = "the new report has no \(metric.name) time"
                row.new = .unavailable(reason: row.note!)
                row.ratio = row.new
                return row
            }
            row.new = Figure { () throws(StatisticsError) in try estimator.median(other.values) }
            let ratio = try? estimator.independentRatio(base: metric.values, new: other.values)
            row.ratio = Figure { () throws(StatisticsError) in
                try estimator.independentRatio(base: metric.values, new: other.values)
            }
            row.verdict = Verdict(ratio?.interval, limit: limit)
            row.allowsRegression = Verdict.allowsRegression(ratio?.interval, limit: limit)
            if ratio?.interval == nil { row.note = "a single trial has no confidence interval" }
            return row
        }
    }

    // MARK: Circumstances

    /// Facts that belong to a run rather than to its host.
    private static let momentaryFacts: Set = ["loadAverage", "measuredCPU", "measuredCPUReason", "otherCPU"]

    /// Measured facts, such as the TSC frequency, are never quite the same: a tenth of a per cent does not matter.
    private static func isNearlyEqual(_ a: String, _ b: String) -> Bool {
        guard let a = Double(a), let b = Double(b) else { return false }
        return abs(a - b) <= 0.001 * max(abs(a), abs(b))
    }

    private static func warnings(_ base: RunReport, _ new: RunReport) -> [String] {
        var warnings: [String] = []
        for key in Set(base.host.facts.keys).intersection(new.host.facts.keys).sorted()
        where !momentaryFacts.contains(key) {
            // Only plain facts: lists and trees are for people.
            guard let before = base.host.facts[key]?.plainText, let after = new.host.facts[key]?.plainText,
                before != after, !isNearlyEqual(before, after)
            else { continue }
            warnings.append("the hosts differ in \(key): \(before) / \(after)")
        }
        if base.suite.sha256 != nil && new.suite.sha256 != nil && base.suite.sha256 != new.suite.sha256 {
            warnings.append(
                base.suite.path == new.suite.path
                    ? "the suite \(new.suite.path) has changed between the runs"
                    : "the suites differ: \(base.suite.path) / \(new.suite.path)")
        }
        if !base.complete { warnings.append("the base report is incomplete: \(base.incompleteReason ?? "unfinished")") }
        if !new.complete { warnings.append("the new report is incomplete: \(new.incompleteReason ?? "unfinished")") }
        return warnings
    }
}

extension Comparison.Row {
    /// A row without a ratio.
    fileprivate init(
        _ cell: CellRecord, verdict: Verdict, allowsRegression: Bool, base: Figure, new: Figure, note: String?
    ) {
        self.init(
            workload: cell.workload, backend: cell.backend, variant: cell.variant, metric: "", unit: nil, base: base,
            new: new, ratio: .unavailable(reason: note ?? "not compared"), verdict: verdict,
            allowsRegression: allowsRegression, note: note)
    }
}

extension JSON {
    /// A value that is no list and no tree.
    fileprivate var plainText: String? {
        switch self {
        case .bool(let value): "\(value)"
        case .integer(let value): "\(value)"
        case .number(let value): "\(value)"
        case .string(let value): value
        case .null, .array, .object: nil
        }
    }
}
