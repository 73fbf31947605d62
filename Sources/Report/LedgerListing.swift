import Results
import Statistics

/// One phase of several trials' ledgers.
public struct PhaseLedger: Sendable, Equatable {
    public var name: String
    /// Whether it is made of the program's timed rounds.
    public var isTimed: Bool
    /// Times that it was entered in all trials.
    public var entries: Double
    /// TSC cycles of all trials together, and those outside of the VMM.
    public var cycles: Double
    public var guestCycles: Double
    public var ledger: PooledLedger

    static func all(_ results: [TrialResult], tscHertz: Double?) -> [PhaseLedger] {
        let recorded = results.filter { $0.exits != nil && $0.phases != nil }
        var names: [String] = []
        for phase in recorded.flatMap({ $0.phases ?? [] }) where !names.contains(phase.name) {
            names.append(phase.name)
        }
        return names.map { name in
            let phases = recorded.flatMap { $0.phases ?? [] }.filter { $0.name == name }
            let cycles = phases.reduce(0) { $0 + Double($1.cycles) }
            return PhaseLedger(
                name: name, isTimed: phases.contains(where: \.timed),
                entries: phases.reduce(0) { $0 + Double($1.entries) }, cycles: cycles,
                guestCycles: phases.reduce(0) { $0 + Double($1.guestCycles) },
                ledger: PooledLedger(
                    trials: recorded.count, nanoseconds: tscHertz.map { cycles / $0 * 1e9 } ?? 0,
                    ledgers: recorded.map { ($0.exits ?? []).filter { $0.phase == name } }))
        }
    }
}

/// Where in the guest the exits of a trial came from.
public struct ExitProfile: Sendable, Equatable {
    /// Exits of one reason in one function, all phases together, most cycles first.
    public struct Site: Sendable, Equatable {
        public var function: String
        public var ring: Int
        public var reason: String
        public var count: Double
        public var cycles: Double
    }

    public var sites: [Site]
    /// Exits that found no place in the trial's table.
    public var dropped: Double

    /// Nil unless it is the result of a profile trial.
    init?(_ result: TrialResult) {
        guard let records = result.exitSites else { return nil }
        struct Key: Hashable {
            var function: String
            var ring: Int
            var reason: String
        }
        var groups: [Key: (count: Double, cycles: Double)] = [:]
        for record in records {
            let key = Key(function: record.function, ring: record.ring, reason: record.reason)
            groups[key, default: (0, 0)].count += Double(record.count)
            groups[key, default: (0, 0)].cycles += Double(record.cycles)
        }
        sites = groups.map {
            Site(function: $0.function, ring: $0.ring, reason: $0.reason, count: $1.count, cycles: $1.cycles)
        }
        .sorted { ($0.cycles, $0.count, $1.function, $1.reason) > ($1.cycles, $1.count, $0.function, $0.reason) }
        dropped = Double(result.exitSitesDropped ?? 0)
    }

    public var count: Double { sites.reduce(0) { $0 + $1.count } }
}

/// The ledgers of a report's cells, or why a cell has none. Trials that failed and co-locations are not in it.
public struct LedgerListing: Sendable, Equatable {
    public struct Entry: Sendable, Equatable {
        public var workload: String
        public var backend: String
        public var variant: String
        public var ledger: PooledLedger?
        /// By phase, in the order of the first trial; empty where the ledgers tell none apart.
        public var phases: [PhaseLedger]
        /// Of the profile trial: where in the guest exits came from. Nil where there was none.
        public var profile: ExitProfile?
        /// Why there is no ledger.
        public var missing: String?
    }

    /// In the report's order.
    public var entries: [Entry]
    /// Turns cycles into time; nil where it is unknown.
    public var tscHertz: Double?

    /// - Parameters:
    ///   - workload: only this one's cells.
    ///   - backend: only this one's cells.
    public init(_ report: RunReport, workload: String? = nil, backend: String? = nil) {
        let tscHertz = report.host.knownTSCHertz
        self.tscHertz = tscHertz
        let cells = report.cells.filter {
            (workload == nil || $0.workload == workload) && (backend == nil || $0.backend == backend)
        }
        entries = cells.map { cell in
            let rules = TrialRules(suite: report.suite.resolved, workload: cell.workload)
            let passed = cell.passedTrials(rules).map(\.result)
            let ledger = PooledLedger(passed)
            return Entry(
                workload: cell.workload, backend: cell.backend, variant: cell.variant, ledger: ledger,
                phases: PhaseLedger.all(passed, tscHertz: tscHertz), profile: cell.profile.flatMap(ExitProfile.init),
                missing: ledger == nil ? cell.missingLedgerReason(rules) : nil)
        }
    }
}

extension LedgerListing {
    /// Of one trial that is in no report.
    public init(_ result: TrialResult, workload: String, backend: String, tscHertz: Double?) {
        self.tscHertz = tscHertz
        let ledger = PooledLedger([result])
        entries = [
            Entry(
                workload: workload, backend: backend, variant: "default", ledger: ledger,
                phases: PhaseLedger.all([result], tscHertz: tscHertz), profile: ExitProfile(result),
                missing: ledger == nil ? result.exitsUnavailable ?? "the backend gave no ledger" : nil)
        ]
    }
}

extension HostRecord {
    /// The TSC frequency, if it is one.
    var knownTSCHertz: Double? { tscHertz.flatMap { $0 > 0 && $0.isFinite ? $0 : nil } }
}

extension CellRecord {
    func passedTrials(_ rules: TrialRules) -> [TrialRecord] { trials.filter { rules.failure(of: $0.result) == nil } }

    /// Why none of the trials that passed has a ledger.
    func missingLedgerReason(_ rules: TrialRules) -> String {
        let passed = passedTrials(rules).map(\.result)
        if passed.isEmpty {
            return skipped ?? distinctFailures(trials.map(\.result), rules: rules).messages.first ?? "no trial was run"
        }
        return passed.lazy.compactMap(\.exitsUnavailable).first ?? "the backend gave no ledger"
    }
}
