import Results

/// Where the overhead of starting and stopping a guest comes from, for each technique.
struct BootHaltBreakdown: Sendable {
    /// One technique's exits of boot and shutdown.
    struct Technique: Sendable {
        var title: String
        /// Mean milliseconds of a trial by reason, of the exits that were timed.
        var milliseconds: [String: Double] = [:]
        /// Mean exits of a trial by reason.
        var counts: [String: Double] = [:]
        /// Reasons with exits that were counted only.
        var untimed: Set<String> = []
        /// From the machine's start to the program's first instruction, in milliseconds.
        var boot: Figure
        /// Why there is nothing.
        var missing: String?
    }

    let techniques: [Technique]

    /// Phases of the ledger that are neither the program's nor its rounds'.
    static let phases = ["boot", "shutdown"]

    /// - Parameter report: analysed.
    init(_ report: RunReport, workload: String) {
        techniques = PaperReproduction.columns.dropFirst().compactMap { column in
            guard
                let cell = report.cell(workload: workload, backend: column.backend, variant: column.variant)
            else { return nil }
            let rules = TrialRules(suite: report.suite.resolved, workload: workload)
            let results = cell.trials.map(\.result).filter { rules.failure(of: $0) == nil && $0.exits != nil }
            let boots = results.compactMap(\.bootNanoseconds)
            let boot =
                boots.isEmpty
                ? Figure.unavailable(reason: "no trial recorded it")
                : Figure(boots.reduce(0, +) / Double(boots.count) / 1e6)
            guard !results.isEmpty, let hertz = report.host.tscHertz else {
                let missing = cell.skipped ?? cell.analysis?.failures.first ?? "no ledger"
                return Technique(title: column.title, boot: boot, missing: missing)
            }
            var milliseconds: [String: Double] = [:]
            var counts: [String: Double] = [:]
            var untimed: Set<String> = []
            let trials = Double(results.count)
            for exit in results.flatMap({ $0.exits ?? [] })
            where exit.phase.map(Self.phases.contains) == true && exit.reason != ExitTotals.waitingReason {
                counts[exit.reason, default: 0] += Double(exit.count) / trials
                if let times = exit.times {
                    milliseconds[exit.reason, default: 0] += Double(times.totalCycles) / hertz * 1e3 / trials
                } else {
                    untimed.insert(exit.reason)
                }
            }
            return Technique(
                title: column.title, milliseconds: milliseconds, counts: counts, untimed: untimed, boot: boot)
        }
    }

    /// A table of the reasons, dearest first, and the time that booting takes.
    func markdown() -> String {
        guard !techniques.isEmpty else {
            return "Not measured: the report has no workload `\(PaperReproduction.bootWorkload)`.\n"
        }
        let shown = techniques.filter { $0.missing == nil }
        var text = techniques.compactMap { technique in
            technique.missing.map { "Not measured (\(technique.title)): \($0).\n\n" }
        }.joined()
        guard !shown.isEmpty else { return text }
        var table = MarkdownTable(["ms (exits)"] + shown.map(\.title))
        func largest(_ reason: String) -> Double { shown.compactMap { $0.milliseconds[reason] }.max() ?? 0 }
        let reasons = Set(shown.flatMap(\.counts.keys)).sorted { (largest($1), $0) < (largest($0), $1) }
        for reason in reasons {
            table.row(
                [reason]
                    + shown.map { technique in
                        guard let count = technique.counts[reason] else { return "–" }
                        let isPartial = technique.untimed.contains(reason)
                        let time = technique.milliseconds[reason].map { (isPartial ? "≥ " : "") + NumberText.ratio($0) }
                        return "\(time ?? "not timed") (\(NumberText.count(count.rounded())))"
                    })
        }
        table.row(
            ["**all exits**"]
                + shown.map { NumberText.ratio($0.milliseconds.values.reduce(0, +)) })
        table.row(["**reset to program**"] + shown.map { $0.boot.value.map(NumberText.ratio) ?? "–" })
        text += table.render()
        return text
    }
}
