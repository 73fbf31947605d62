import Results

/// What a run found, as text for a terminal.
public enum SummaryTable {
    /// The whole summary of an analysed report: cells, co-locations, what is unavailable or went wrong.
    ///
    /// - Parameter width: columns of the terminal; text wraps there, tables of usual names fit into 80.
    public static func text(_ report: RunReport, width: Int = 80) -> String {
        var parts = [cells(report, width: width)]
        if !report.colocations.isEmpty { parts.append(colocations(report, width: width)) }
        let notes = notes(report)
        if !notes.isEmpty {
            parts.append(notes.flatMap { note(wrapping: $0, width: width) }.joined(separator: "\n") + "\n")
        }
        return parts.joined(separator: "\n")
    }

    // MARK: Cells

    private static func cells(_ report: RunReport, width: Int) -> String {
        var table = TextTable(
            [
                .init(title: "WORKLOAD", alignment: .left), .init(title: "BACKEND", alignment: .left),
                .init(title: "TIME", alignment: .right), .init(title: "SLOWDOWN [95 % CI]", alignment: .left),
                .init(title: "EXITS/S", alignment: .right), .init(title: "MEAN EXIT", alignment: .right),
            ], width: width)
        let unavailable = Set(report.backends.filter { !$0.available }.map(\.name))
        let cells = report.cells.filter { !unavailable.contains($0.backend) && $0.analysis != nil }
        var order: [String] = []
        for cell in cells where !order.contains(cell.workload) { order.append(cell.workload) }
        for workload in order {
            append(workload, cells.filter { $0.workload == workload }, to: &table)
        }
        return table.render()
    }

    /// The rows of a workload: its cells below each other, for one phase after the other where there are several.
    private static func append(_ workload: String, _ cells: [CellRecord], to table: inout TextTable) {
        var phases: [String] = []
        for metric in cells.flatMap({ $0.analysis!.metrics }) where !phases.contains(metric.name) {
            phases.append(metric.name)
        }
        if phases.count > 1 { table.row([workload], then: "") }
        for (number, phase) in phases.enumerated() {
            var title = phases.count > 1 ? "  " + phase : workload
            for cell in cells {
                guard let metric = cell.analysis!.metrics.first(where: { $0.name == phase }) else { continue }
                // Exits are the whole cell's: they stand in its first row.
                let exits = number == 0 ? cell.analysis : nil
                table.row([
                    title, cell.backendText, text(metric.time, metric.unit),
                    cell.backend == "native" ? "1" : slowdown(metric.slowdown),
                    figure(exits?.exitsPerSecond, NumberText.count),
                    figure(exits?.meanExitNanoseconds, NumberText.time),
                ])
                title = ""
            }
        }
        var title = phases.isEmpty ? workload : ""
        for cell in cells {
            let failed = cell.analysis!.trialsFailed
            if let reason = cell.missingReason {
                table.row([title, cell.backendText], then: (failed > 0 ? "failed: " : "not run: ") + reason)
            } else if failed > 0 {
                let count = "\(failed) of \(cell.trials.count) trials failed: "
                table.row([title, cell.backendText], then: count + (cell.analysis!.failures.first ?? ""))
            }
            title = ""
        }
    }

    private static func text(_ time: Figure, _ unit: MetricAnalysis.Unit) -> String {
        guard let value = time.value else { return "–" }
        return NumberText.time(nanoseconds: value) + (unit == .nanosecondsPerOperation ? "/op" : "")
    }

    private static func slowdown(_ figure: Figure) -> String { figure.estimate.map(NumberText.ratio) ?? "–" }

    private static func figure(_ figure: Figure?, _ text: (Double) -> String) -> String {
        guard let figure else { return "" }
        return figure.value.map(text) ?? "–"
    }

    // MARK: Co-locations

    private static func colocations(_ report: RunReport, width: Int) -> String {
        var table = TextTable(
            [
                .init(title: "CO-LOCATION", alignment: .left), .init(title: "BACKEND", alignment: .left),
                .init(title: "VICTIM", alignment: .left), .init(title: "TIME", alignment: .right),
                .init(title: "SLOWDOWN [95 % CI]", alignment: .left),
            ], width: width)
        let unavailable = Set(report.backends.filter { !$0.available }.map(\.name))
        for record in report.colocations where !unavailable.contains(record.backend) {
            for (index, placement) in record.placements.enumerated() {
                guard let analysis = placement.analysis else { continue }
                let head = [
                    index == 0 ? record.name : "", index == 0 ? record.backend : "", placement.placement.text,
                ]
                if analysis.time.value == nil {
                    let reason = analysis.time.reason ?? "no time was recorded"
                    table.row(head, then: (analysis.trialsFailed > 0 ? "failed: " : "not run: ") + reason)
                } else {
                    table.row(
                        head + [
                            text(analysis.time, analysis.unit),
                            placement.placement == .alone ? "1" : slowdown(analysis.slowdown),
                        ])
                }
            }
        }
        return table.render()
    }

    // MARK: Notes

    private static func notes(_ report: RunReport) -> [String] {
        var notes: [String] = []
        for backend in report.backends {
            if !backend.available {
                let remedy = backend.remedy.map { "; " + $0 } ?? ""
                notes.append("\(backend.name) is unavailable: \(backend.reason ?? "no reason was given")\(remedy)")
            } else if let detail = backend.detail, !detail.isEmpty {
                notes.append("\(backend.name): \(detail)")
            }
        }
        let metrics = report.cells.flatMap { $0.analysis?.metrics ?? [] }
        let rounds = metrics.reduce(0) { $0 + $1.warmup.totalRounds }
        if rounds > 0 {
            let warmup = metrics.reduce(0) { $0 + $1.warmup.discardedRounds }
            let outliers = metrics.reduce(0) { $0 + $1.outliers.total }
            notes.append("Of \(rounds) rounds, \(warmup) were warm-up (left out) and \(outliers) outliers (kept).")
        }
        let unsettled = metrics.reduce(0) { $0 + $1.warmup.unsettledTrials }
        if unsettled > 0 {
            let trials = unsettled == 1 ? "1 trial" : "\(unsettled) trials"
            notes.append("\(trials) did not settle within half of the rounds.")
        }
        for (workload, calls) in report.unknownSystemCalls {
            notes.append("\(workload): system calls that the guest kernel lacks: \(calls.joined(separator: ", "))")
        }
        if !report.complete { notes.append("INCOMPLETE: \(report.incompleteReason ?? "the run did not finish").") }
        return notes
    }

    private static func note(wrapping text: String, width: Int) -> [String] {
        TextTable.wrapped(text, width: width - 2).enumerated().map { $0 == 0 ? $1 : "  " + $1 }
    }
}

extension CellRecord {
    /// "kvm", or "kvm/small-cache" for a variant with a name.
    var backendText: String { CellName.text(backend, variant) }
}

extension PlacementRecord.Placement {
    var text: String {
        switch self {
        case .alone: "alone"
        case .sameCPU: "same CPU"
        case .differentCPU: "different CPU"
        }
    }
}

extension RunReport {
    /// By workload in suite order: names of system calls that answered ENOSYS, sorted.
    fileprivate var unknownSystemCalls: [(workload: String, calls: [String])] {
        var order: [String] = []
        var names: [String: Set<String>] = [:]
        for cell in cells {
            if names[cell.workload] == nil { order.append(cell.workload) }
            for trial in cell.trials {
                names[cell.workload, default: []].formUnion(trial.result.unknownSystemCalls.keys)
            }
        }
        return order.compactMap { workload in
            let calls = (names[workload] ?? []).sorted()
            return calls.isEmpty ? nil : (workload, calls)
        }
    }
}
