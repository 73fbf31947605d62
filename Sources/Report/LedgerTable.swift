import Results

/// Exit ledgers as text, in the manner of `perf kvm stat report`.
public enum LedgerTable {
    public enum Unit: String, Sendable, CaseIterable {
        case microseconds = "us"
        case cycles
    }

    /// A table for each cell, then what it is of. Of usual reasons and counts it fits into 80 columns.
    public static func text(_ listing: LedgerListing, unit: Unit = .microseconds, width: Int = 80) -> String {
        let format = Format(unit: unit, tscHertz: listing.tscHertz)
        var parts: [String] = []
        for entry in listing.entries {
            guard let ledger = entry.ledger else { continue }
            parts.append(heading(entry, ledger) + table(ledger, format, width: width))
        }
        var notes = missing(listing)
        if !parts.isEmpty { notes += footnotes(listing, unit, format) }
        if !notes.isEmpty { parts.append(notes.map { TextTable.paragraph($0, width: width) }.joined()) }
        return parts.joined(separator: "\n")
    }

    private static func heading(_ entry: LedgerListing.Entry, _ ledger: PooledLedger) -> String {
        let cell = CellName.text(entry.backend, entry.variant)
        let trials = ledger.trials == 1 ? "1 trial" : "\(ledger.trials) trials"
        let time = NumberText.time(nanoseconds: ledger.nanoseconds)
        return "\(entry.workload) on \(cell): \(trials), \(time) of run time\n"
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
                    exit.reason, format.count(exit.count), NumberText.share(exit.count / count),
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

    private static func footnotes(_ listing: LedgerListing, _ unit: Unit, _ format: Format) -> [String] {
        var notes: [String] = []
        if listing.tscHertz == nil {
            notes.append("The TSC frequency is unknown: times are in cycles, and shares of run time are not known.")
        }
        notes.append(
            "MIN to MAX in \(format.inCycles ? "TSC cycles" : "µs"). Trials that passed are pooled; P50 and P99 are the "
                + "medians of the trials' own, as a report has no histogram to pool.")
        notes.append(
            "Run time is from the machine's start to the program's end, boot included. RUN% is the exits' share of it.")
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
                    + "and restoring the FPU state (XSAVE), are not in it.")
        }
        if backends.contains("kvm") {
            sentences.append(
                "kvm: exits to the VMM are timed from one KVM_RUN to the next. The CPU's world switch is not in it; exits "
                    + "that KVM handles in the kernel are counted (kvm.stats.exits) and not timed.")
        }
        return sentences
    }
}
