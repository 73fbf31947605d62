import Results

/// Exit ledgers as text, in the manner of `perf kvm stat report`.
public enum LedgerTable {
    public enum Unit: String, Sendable, CaseIterable {
        case microseconds = "us"
        case cycles
    }

    /// What the rows of a table are.
    public enum Grouping: String, Sendable, CaseIterable {
        case reason
        /// Reasons, in a table for each phase.
        case phase
        /// Functions of the guest, from profile trials.
        case function
    }

    /// A table for each cell, then what it is of. Of usual reasons and counts it fits into 80 columns.
    public static func text(
        _ listing: LedgerListing, by grouping: Grouping = .reason, unit: Unit = .microseconds, width: Int = 80
    ) -> String {
        let format = Format(unit: unit, tscHertz: listing.tscHertz)
        var parts: [String] = []
        for entry in listing.entries {
            guard let ledger = entry.ledger else { continue }
            switch grouping {
            case .reason: parts.append(heading(entry, ledger) + table(ledger, format, width: width))
            case .phase: parts += phases(entry, ledger, format, width: width)
            case .function: parts.append(functions(entry, format, width: width))
            }
        }
        var notes = missing(listing)
        if !parts.isEmpty { notes += footnotes(listing, grouping, format) }
        if !notes.isEmpty { parts.append(notes.map { TextTable.paragraph($0, width: width) }.joined()) }
        return parts.joined(separator: "\n")
    }

    private static func heading(_ entry: LedgerListing.Entry, _ ledger: PooledLedger) -> String {
        let cell = CellName.text(entry.backend, entry.variant)
        let trials = ledger.trials == 1 ? "1 trial" : "\(ledger.trials) trials"
        let time = NumberText.time(nanoseconds: ledger.nanoseconds)
        return "\(entry.workload) on \(cell): \(trials), \(time) of run time\n"
    }

    private static func phases(
        _ entry: LedgerListing.Entry, _ ledger: PooledLedger, _ format: Format, width: Int
    ) -> [String] {
        if entry.phases.isEmpty {
            return [heading(entry, ledger) + "Its ledgers do not tell phases apart: they are of an older vbench.\n"]
        }
        let cell = CellName.text(entry.backend, entry.variant)
        return entry.phases.map { phase in
            let entries = NumberText.count(phase.entries) + (phase.isTimed ? " rounds" : " stretches")
            let outside = phase.cycles > 0 ? NumberText.signedPercent(phase.guestCycles / phase.cycles) : "–"
            let title =
                "\(entry.workload) on \(cell), \(phase.name): \(entries), \(format.total(phase.cycles)), "
                + "\(outside) of it outside of the VMM"
            var text = TextTable.paragraph(title, width: width) + table(phase.ledger, format, width: width)
            if !phase.ledger.inline.isEmpty {
                let counts = phase.ledger.inline.map { "\(format.count($0.count)) \($0.reason)" }.joined(
                    separator: ", ")
                text += TextTable.paragraph("Carried out by translated code itself: \(counts)", width: width)
            }
            return text
        }
    }

    /// Functions beyond this many share a row.
    private static let functionLimit = 30
    private static let functionWidth = 26

    private static func functions(_ entry: LedgerListing.Entry, _ format: Format, width: Int) -> String {
        let title = "\(entry.workload) on \(CellName.text(entry.backend, entry.variant))"
        guard let profile = entry.profile else {
            return "\(title): no profile trial was run (\"profile\" in the suite, or run --profile)\n"
        }
        let counted = "\(format.count(profile.count)) exits in one profile trial"
        let dropped = profile.dropped > 0 ? ", \(format.count(profile.dropped)) more found no place in its table" : ""
        var table = TextTable(
            [.init(title: "FUNCTION", alignment: .left), .init(title: "RING", alignment: .right)]
                + [.init(title: "REASON", alignment: .left)]
                + ["SAMPLES", "EXITS%", "TOTAL", "MEAN"].map { .init(title: $0, alignment: .right) }, width: width,
            gap: 1)
        func row(_ function: String, _ ring: String, _ reason: String, _ count: Double, _ cycles: Double) {
            table.row([
                function, ring, reason, format.count(count), NumberText.share(count / profile.count),
                format.total(cycles).replacing(" ", with: ""), format.each(cycles / count),
            ])
        }
        for site in profile.sites.prefix(functionLimit) {
            let name =
                site.function.count > functionWidth ? site.function.prefix(functionWidth - 1) + "…" : site.function[...]
            row(String(name), "\(site.ring)", site.reason, site.count, site.cycles)
        }
        let rest = profile.sites.dropFirst(functionLimit)
        if !rest.isEmpty {
            row(
                "\(rest.count) more", "", "", rest.reduce(0) { $0 + $1.count }, rest.reduce(0) { $0 + $1.cycles })
        }
        return TextTable.paragraph("\(title): \(counted)\(dropped)", width: width) + table.render()
    }

    private static func table(_ ledger: PooledLedger, _ format: Format, width: Int) -> String {
        var table = TextTable(
            [.init(title: "REASON", alignment: .left)]
                + ["SAMPLES", "EXITS%", "TOTAL", "RUN%", "MIN", "MEAN", "P50", "P99", "MAX"]
                .map { .init(title: $0, alignment: .right) }, width: width, gap: 1)
        if ledger.exits.isEmpty {
            table.row([], then: "no exits")
            return table.render()
        }
        let count = ledger.count
        for exit in ledger.exits {
            table.row(
                [
                    exit.title, format.count(exit.count), NumberText.share(exit.count / count),
                    format.total(exit.totalCycles), format.share(exit.totalCycles, of: ledger.nanoseconds),
                ]
                    + [
                        exit.minimumCycles, exit.meanCycles, exit.medianCycles, exit.p99Cycles, exit.maximumCycles,
                    ].map { $0.map(format.each) ?? "–" })
        }
        let halts = ledger.exits.contains(where: \.isWaiting)
        table.row(
            [
                halts ? "all but halt" : "all",
                format.count(ledger.exits.reduce(0) { $0 + ($1.isWaiting ? 0 : $1.count) }),
                "", format.total(ledger.busyCycles), format.share(ledger.busyCycles, of: ledger.nanoseconds),
            ] + Array(repeating: "", count: 5))
        return table.render()
    }

    /// Cells without a ledger, those with the same reason in one line.
    private static func missing(_ listing: LedgerListing) -> [String] {
        var groups: [(backend: String, reason: String, workloads: [String])] = []
        for entry in listing.entries {
            guard let reason = entry.missing else { continue }
            let backend = CellName.text(entry.backend, entry.variant)
            if let known = groups.firstIndex(where: { $0.backend == backend && $0.reason == reason }) {
                groups[known].workloads.append(entry.workload)
            } else {
                groups.append((backend, reason, [entry.workload]))
            }
        }
        return groups.map { group in
            let workloads = group.workloads.count == 1 ? group.workloads[0] : "\(group.workloads.count) workloads"
            return "\(group.backend) has no ledger of \(workloads): \(group.reason)"
        }
    }

    private static func footnotes(_ listing: LedgerListing, _ grouping: Grouping, _ format: Format) -> [String] {
        var notes: [String] = []
        if listing.tscHertz == nil {
            notes.append("The TSC frequency is unknown: times are in cycles, and shares of run time are not known.")
        }
        let unit = format.inCycles ? "TSC cycles" : "µs"
        if grouping == .function {
            notes.append(
                "MEAN in \(unit). A profile trial notes where every exit comes from; its times count for nothing else.")
            return notes
        }
        notes.append(
            "MIN to MAX in \(unit). Trials that passed are pooled; P50 and P99 are the "
                + "medians of the trials' own, as a report has no histogram to pool.")
        notes.append(
            grouping == .phase
                ? "RUN% is the exits' share of the phase's time. The exits that begin and end a round are charged to program."
                : "Run time is from the machine's start to the program's end, boot included. RUN% is the exits' share of it."
        )
        let backends = Set(listing.entries.filter { $0.ledger != nil }.map(\.backend))
        notes += ExitCoverage.sentences(backends: backends)
        if listing.entries.contains(where: { $0.ledger?.exits.contains(where: \.isWaiting) == true }) {
            notes.append("halt is waiting for something to do.")
        }
        return notes
    }

    /// Turns cycles into what the table shows.
    private struct Format {
        var inCycles: Bool
        var tscHertz: Double?

        init(unit: Unit, tscHertz: Double?) {
            self.tscHertz = tscHertz
            inCycles = unit == .cycles || tscHertz == nil
        }

        private func nanoseconds(_ cycles: Double) -> Double? { tscHertz.map { cycles / $0 * 1e9 } }

        /// Exact below ten millions.
        func count(_ value: Double) -> String {
            value < 1e7 ? String(UInt64(value)) : NumberText.count(value).replacing(" ", with: "")
        }

        func each(_ cycles: Double) -> String {
            guard !inCycles, let time = nanoseconds(cycles) else {
                return NumberText.count(cycles).replacing(" ", with: "")
            }
            return NumberText.microseconds(nanoseconds: time)
        }

        func total(_ cycles: Double) -> String {
            guard !inCycles, let time = nanoseconds(cycles) else { return NumberText.count(cycles) }
            return NumberText.time(nanoseconds: time)
        }

        func share(_ cycles: Double, of whole: Double) -> String {
            guard let time = nanoseconds(cycles), whole > 0 else { return "–" }
            return NumberText.share(time / whole)
        }
    }
}

/// How cells are called in tables.
enum CellName {
    /// "kvm", or "kvm/small-cache" for a variant with a name.
    static func text(_ backend: String, _ variant: String) -> String {
        variant == "default" ? backend : "\(backend)/\(variant)"
    }
}

/// What the times in exit ledgers leave out (docs/software-vmm.md, "What an exit's time covers"; `KVMMachine`).
enum ExitCoverage {
    static func sentences(backends: Set<String>) -> [String] {
        var sentences: [String] = []
        if backends.contains("software") {
            sentences.append(
                "software: an exit's time is the VMM's own work. Delivery of the signal by the host's kernel, and saving "
                    + "and restoring the FPU state (XSAVE), are not in it: what they take was measured when the machine started, "
                    + "and is the row transition of explanations.")
        }
        if backends.contains("kvm") {
            sentences.append(
                "kvm: exits to the VMM are timed from one KVM_RUN to the next. The CPU's world switch is not in it; exits "
                    + "that KVM handles in the kernel are counted (kvm.stats.exits), and timed in profile trials only.")
        }
        return sentences
    }
}
