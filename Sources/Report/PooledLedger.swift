import Results
import Statistics

/// Exits of one reason, of several trials together. Times in TSC cycles.
public struct PooledExit: Sendable, Equatable {
    public var reason: String
    /// Sum over the trials, as the next.
    public var count: Double
    public var totalCycles: Double
    /// Of all trials.
    public var minimumCycles: Double
    public var maximumCycles: Double
    /// Medians over trials of the trials' own percentiles: reports keep no histogram that could be pooled.
    public var medianCycles: Double
    public var p99Cycles: Double

    public var meanCycles: Double { totalCycles / count }

    /// Whether it is time with nothing to do, which is no cost.
    public var isWaiting: Bool { reason == ExitTotals.waitingReason }

    /// Records of the same reason, each of its own trial, with one exit at least.
    init(reason: String, _ records: [ExitRecord]) {
        func median(_ values: [Double]) -> Double { (try? Observations(values))?.median ?? 0 }
        self.reason = reason
        count = records.reduce(0) { $0 + Double($1.count) }
        totalCycles = records.reduce(0) { $0 + Double($1.totalCycles) }
        minimumCycles = Double(records.map(\.minimumCycles).min() ?? 0)
        maximumCycles = Double(records.map(\.maximumCycles).max() ?? 0)
        medianCycles = median(records.map { Double($0.medianCycles) })
        p99Cycles = median(records.map { Double($0.p99Cycles) })
    }
}

/// The exit ledgers of several trials of a cell as one.
public struct PooledLedger: Sendable, Equatable {
    /// Trials that it is of.
    public var trials: Int
    /// Their time from the machine's start to the program's end, together.
    public var nanoseconds: Double
    /// Most expensive in total first.
    public var exits: [PooledExit]

    /// Nil if none of the results has a ledger.
    init?(_ results: [TrialResult]) {
        let recorded = results.filter { $0.exits != nil }
        if recorded.isEmpty { return nil }
        trials = recorded.count
        nanoseconds = recorded.reduce(0) { $0 + $1.ledgerNanoseconds }
        let records = recorded.compactMap(\.exits).joined().filter { $0.count > 0 }
        exits = Dictionary(grouping: records, by: \.reason)
            .map { PooledExit(reason: $0, $1) }
            .sorted { ($1.totalCycles, $1.count, $0.reason) < ($0.totalCycles, $0.count, $1.reason) }
    }

    public var count: Double { exits.reduce(0) { $0 + $1.count } }

    /// Of all exits but those that wait.
    public var busyCycles: Double { exits.reduce(0) { $0 + ($1.isWaiting ? 0 : $1.totalCycles) } }
}

/// The ledgers of a report's cells, or why a cell has none. Trials that failed and co-locations are not in it.
public struct LedgerListing: Sendable, Equatable {
    public struct Entry: Sendable, Equatable {
        public var workload: String
        public var backend: String
        public var variant: String
        public var ledger: PooledLedger?
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
        tscHertz = report.host.knownTSCHertz
        let cells = report.cells.filter {
            (workload == nil || $0.workload == workload) && (backend == nil || $0.backend == backend)
        }
        entries = cells.map { cell in
            let rules = TrialRules(suite: report.suite.resolved, workload: cell.workload)
            let passed = cell.passedTrials(rules).map(\.result)
            let ledger = PooledLedger(passed)
            return Entry(
                workload: cell.workload, backend: cell.backend, variant: cell.variant, ledger: ledger,
                missing: ledger == nil ? cell.missingLedgerReason(rules) : nil)
        }
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
