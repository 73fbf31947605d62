import Results

/// Where the overhead of starting and stopping a guest comes from, for each technique.
struct BootHaltBreakdown: Sendable {
    /// One technique's exits of boot and shutdown.
    struct Technique: Sendable {
        var title: String
        /// Mean nanoseconds of a trial by reason, of the exits that were timed.
        var nanoseconds: [String: Double] = [:]
        /// Mean exits of a trial by reason.
        var counts: [String: Double] = [:]
        /// Reasons with exits that were counted only.
        var untimed: Set<String> = []
        /// From the machine's start to the program's first instruction, in nanoseconds.
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
                : Figure(boots.reduce(0, +) / Double(boots.count))
            guard !results.isEmpty, let hertz = report.host.tscHertz else {
                let missing = cell.skipped ?? cell.analysis?.failures.first ?? "no ledger"
                return Technique(title: column.title, boot: boot, missing: missing)
            }
            var technique = Technique(title: column.title, boot: boot)
            for result in results {
                technique.add(result, share: 1 / Double(results.count), hertz: hertz) { _ in true }
            }
            // Timed trials have the VMM's exits, the profile trial KVM's own.
            if let profile = cell.profile { technique.add(profile, share: 1, hertz: hertz) { $0 == .kvm } }
            return technique
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
        var table = MarkdownTable(["time (exits)"] + shown.map(\.title))
        func largest(_ reason: String) -> Double { shown.compactMap { $0.nanoseconds[reason] }.max() ?? 0 }
        let reasons = Set(shown.flatMap(\.counts.keys)).sorted { (largest($1), $0) < (largest($0), $1) }
        for reason in reasons {
            table.row(
                [reason]
                    + shown.map { technique in
                        guard let count = technique.counts[reason] else { return "–" }
                        let isPartial = technique.untimed.contains(reason)
                        let time = technique.nanoseconds[reason].map {
                            (isPartial ? "≥ " : "") + NumberText.time(nanoseconds: $0)
                        }
                        return "\(time ?? "not timed") (\(Int(count.rounded())))"
                    })
        }
        table.row(
            ["**all exits**"]
                + shown.map { NumberText.time(nanoseconds: $0.nanoseconds.values.reduce(0, +)) })
        table.row(
            ["**reset to program**"] + shown.map { $0.boot.value.map { NumberText.time(nanoseconds: $0) } ?? "–" })
        text += table.render()
        return text
    }
}

extension BootHaltBreakdown.Technique {
    /// Adds the exits of boot and shutdown that `handler` accepts; waiting is no cost.
    fileprivate mutating func add(
        _ result: TrialResult, share: Double, hertz: Double, handler: (ExitRecord.Handler) -> Bool
    ) {
        for exit in result.exits ?? []
        where exit.phase.map(BootHaltBreakdown.phases.contains) == true && handler(exit.handler)
            && exit.reason != ExitTotals.waitingReason
        {
            let reason = exit.handler == .kvm ? exit.reason + " (kvm)" : exit.reason
            counts[reason, default: 0] += Double(exit.count) * share
            if let times = exit.times {
                nanoseconds[reason, default: 0] += Double(times.totalCycles) / hertz * 1e9 * share
            } else {
                untimed.insert(reason)
            }
        }
    }
}
