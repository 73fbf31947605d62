import Results
import Statistics

/// What keeping the ledger costs: cells with the option `ledger=on` against those without a ledger and otherwise the same.
public struct LedgerCost: Sendable, Equatable {
    public struct Row: Sendable, Equatable {
        public var workload: String
        public var backend: String
        /// Phase, or `run`.
        public var metric: String
        public var unit: MetricAnalysis.Unit
        /// Medians over trials.
        public var off: Figure
        public var on: Figure
        /// Median of the pairs' ratios, with the ledger to without.
        public var ratio: Figure
    }

    private static let option = "ledger"

    /// In the report's order; empty where it has no such pair.
    public var rows: [Row]

    public init(_ report: RunReport) {
        let estimator = Estimator(seed: report.seed)
        rows = report.cells.filter { $0.options[Self.option] == "off" }.flatMap { off -> [Row] in
            func others(_ cell: CellRecord) -> [String: String] { cell.options.filter { $0.key != Self.option } }
            let counterpart = report.cells.first {
                $0.workload == off.workload && $0.backend == off.backend && $0.options[Self.option] ?? "on" == "on"
                    && others($0) == others(off)
            }
            guard let on = counterpart else { return [] }
            let rules = TrialRules(suite: report.suite.resolved, workload: off.workload)
            func metrics(_ cell: CellRecord) -> [MetricTimes] {
                MetricTimes.collect(cell.trials.map { ($0.index, $0.result) }, rules: rules)
            }
            let with = metrics(on)
            return metrics(off).map { base in
                let metric = with.first { $0.name == base.name && $0.unit == base.unit }
                func median(_ metric: MetricTimes?) -> Figure {
                    guard let metric else { return .unavailable(reason: "no trial passed") }
                    return Figure { () throws(StatisticsError) in try estimator.median(metric.values) }
                }
                return Row(
                    workload: off.workload, backend: CellName.text(off.backend, on.variant), metric: base.name,
                    unit: base.unit, off: median(base), on: median(metric),
                    ratio: metric?.slowdown(against: base, named: "ledger=off", estimator)
                        ?? .unavailable(reason: "no trial passed with the ledger"))
            }
        }
    }

    /// A table, or a sentence that says what is missing.
    public func text(width: Int = 80) -> String {
        if rows.isEmpty {
            return TextTable.paragraph(
                "The report has no cells with the option ledger=off beside the same with ledger=on: run "
                    + "Workloads/suites/ledger-cost.json.", width: width)
        }
        var table = TextTable(
            [.init(title: "WORKLOAD", alignment: .left), .init(title: "BACKEND", alignment: .left)]
                + ["LEDGER OFF", "ON"].map { .init(title: $0, alignment: .right) }
                + [.init(title: "COST [95 % CI]", alignment: .left)], width: width)
        for row in rows {
            let name = row.metric == "main" || row.unit == .nanosecondsPerRun ? "" : " " + row.metric
            func time(_ figure: Figure) -> String { figure.value.map { NumberText.time(nanoseconds: $0) } ?? "–" }
            table.row(
                [row.workload + name, row.backend, time(row.off), time(row.on)], then: Self.cost(row.ratio))
        }
        return table.render() + "\n"
            + TextTable.paragraph(
                "The cost is the time with the ledger to that without, in pairs of trials, less 1. An interval that includes 0 "
                    + "means: no cost is seen.", width: width)
    }

    private static func cost(_ ratio: Figure) -> String {
        guard let estimate = ratio.estimate else { return "not known: \(ratio.reason ?? "no reason is given")" }
        guard let interval = estimate.interval else {
            return NumberText.signedPercent(estimate.value - 1) + " [no CI]"
        }
        return "\(NumberText.signedPercent(estimate.value - 1)) [\(NumberText.signedPercent(interval.lower - 1)), "
            + "\(NumberText.signedPercent(interval.upper - 1))]"
    }
}
