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
        let metricCounts = Dictionary(grouping: comparison.rows, by: { [$0.workload, $0.backend, $0.variant] })
            .mapValues(\.count)
        var last: String?
        for row in comparison.rows {
            let workload = row.workload == last ? "" : row.workload
            last = row.workload
            var backend = row.variant == "default" ? row.backend : "\(row.backend)/\(row.variant)"
            if metricCounts[[row.workload, row.backend, row.variant], default: 1] > 1 { backend += " " + row.metric }
            guard let ratio = row.ratio.estimate else {
                let verdict = row.verdict == .regressed ? "regressed" : "not compared"
                table.row([workload, backend], then: "\(verdict): \(row.note ?? row.ratio.reason ?? "")")
                continue
            }
            table.row([
                workload, backend, time(row.base), time(row.new), NumberText.ratio(ratio), row.verdict.rawValue,
            ])
        }
        var lines = table.render()
        for warning in comparison.warnings {
            for (index, line) in TextTable.wrapped("warning: " + warning, width: width - 2).enumerated() {
                lines += (index == 0 ? "" : "  ") + line + "\n"
            }
        }
        return lines + "\n" + conclusion(comparison) + "\n"
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
