import Results
import Statistics

/// A comparison as text for a terminal.
public enum ComparisonTable {
    public static func text(_ comparison: Comparison, width: Int = 80) -> String {
        var table = TextTable(
            [
                .init(title: "WORKLOAD", alignment: .left), .init(title: "BACKEND", alignment: .left),
                .init(title: "BASE", alignment: .right), .init(title: "NEW", alignment: .right),
                .init(title: "RATIO [95 % CI]", alignment: .left), .init(title: "VERDICT", alignment: .left),
            ], width: width)
        var order: [String] = []
        for row in comparison.rows where !order.contains(row.workload) { order.append(row.workload) }
        for workload in order {
            append(workload, comparison.rows.filter { $0.workload == workload }, to: &table)
        }
        var lines = table.render()
        for warning in comparison.warnings { lines += wrapped("warning: " + warning, width) }
        return lines + "\n" + wrapped(conclusion(comparison), width)
    }

    /// The rows of a workload below each other, for one phase after the other where there are several.
    private static func append(_ workload: String, _ rows: [Comparison.Row], to table: inout TextTable) {
        var phases: [String] = []
        for row in rows where !row.metric.isEmpty && !phases.contains(row.metric) { phases.append(row.metric) }
        if phases.count > 1 { table.row([workload], then: "") }
        for phase in phases + [""] {
            // Rows without a phase, those that could not be compared, come last.
            var title = phases.isEmpty ? workload : ""
            if !phase.isEmpty { title = phases.count > 1 ? "  " + phase : workload }
            for row in rows where row.metric == phase {
                let backend = row.variant == "default" ? row.backend : "\(row.backend)/\(row.variant)"
                if let ratio = row.ratio.estimate {
                    table.row([
                        title, backend, time(row.base), time(row.new), NumberText.ratio(ratio), row.verdict.rawValue,
                    ])
                } else {
                    let verdict = row.verdict == .regressed ? "regressed" : "not compared"
                    table.row([title, backend], then: "\(verdict): \(row.note ?? row.ratio.reason ?? "")")
                }
                title = ""
            }
        }
    }

    /// Lines of at most `width`, all but the first indented.
    private static func wrapped(_ text: String, _ width: Int) -> String {
        TextTable.wrapped(text, width: width - 2).enumerated().map { ($0 == 0 ? "" : "  ") + $1 + "\n" }.joined()
    }

    private static func time(_ figure: Figure) -> String {
        figure.value.map { NumberText.time(nanoseconds: $0) } ?? "–"
    }

    /// One line: what the exit code says.
    private static func conclusion(_ comparison: Comparison) -> String {
        let limit = NumberText.percent(comparison.limit)
        let counts = Verdict.allCases.map { "\(comparison.count(of: $0)) \($0.rawValue)" }.joined(separator: ", ")
        switch comparison.outcome {
        case .passed: return "No regression beyond \(limit): \(counts)."
        case .regressed: return "REGRESSED beyond \(limit): \(counts)."
        case .unusable: return "Nothing to compare: the reports have no cell with times in both."
        case .undecided: return "UNDECIDED: a regression beyond \(limit) is not ruled out: \(counts). Run more trials."
        }
    }
}
