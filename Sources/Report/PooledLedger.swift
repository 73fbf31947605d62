import Results
import Statistics

/// Exits of one reason, of several trials together. Times in TSC cycles.
public struct PooledExit: Sendable, Equatable {
    public var reason: String
    /// Sum over the trials, as the next.
    public var count: Double
    /// Exits among them that were timed, and their cycles.
    public var timedCount: Double
    public var totalCycles: Double
    /// Of all trials; nil where nothing was timed.
    public var minimumCycles: Double?
    public var maximumCycles: Double?
    /// Medians over trials of the trials' own percentiles: reports keep no histogram that could be pooled. Where a trial has several
    /// lines of the reason, the line counts that the median exit is in.
    public var medianCycles: Double?
    public var p99Cycles: Double?
    /// Why some exits have no times.
    public var timesUnavailable: String?

    public var meanCycles: Double? { timedCount > 0 ? totalCycles / timedCount : nil }

    /// Whether it is time with nothing to do, which is no cost.
    public var isWaiting: Bool { reason == ExitTotals.waitingReason }

    /// - Parameter trials: each trial's lines of the reason, with one exit at least.
    init(reason: String, _ trials: [[ExitRecord]]) {
        func median(_ value: (ExitTimes) -> UInt64) -> Double? {
            let values = trials.compactMap { lines in
                Self.middle(lines.compactMap { line in line.times.map { (Double(value($0)), line.count) } })
            }
            return (try? Observations(values))?.median
        }
        let records = trials.flatMap { $0 }
        let timed = records.filter { $0.times != nil }
        self.reason = reason
        count = records.reduce(0) { $0 + Double($1.count) }
        timedCount = timed.reduce(0) { $0 + Double($1.count) }
        totalCycles = timed.reduce(0) { $0 + Double($1.timedCycles) }
        minimumCycles = timed.compactMap { $0.times.map { Double($0.minimumCycles) } }.min()
        maximumCycles = timed.compactMap { $0.times.map { Double($0.maximumCycles) } }.max()
        medianCycles = median(\.medianCycles)
        p99Cycles = median(\.p99Cycles)
        timesUnavailable = records.lazy.compactMap(\.timesUnavailable).first
    }

    /// The value that the middle one of all counted has; nil of nothing.
    private static func middle(_ values: [(value: Double, count: UInt64)]) -> Double? {
        let half = values.reduce(0) { $0 + Double($1.count) } / 2
        var seen = 0.0
        for (value, count) in values.sorted(by: { $0.value < $1.value }) {
            seen += Double(count)
            if seen >= half { return value }
        }
        return nil
    }
}

/// The exit ledgers of several trials of a cell as one.
public struct PooledLedger: Sendable, Equatable {
    /// Trials that it is of.
    public var trials: Int
    /// Their time from the machine's start to the program's end, together.
    public var nanoseconds: Double
    /// Most expensive in total first. Operations that translated code carried out itself are no exits.
    public var exits: [PooledExit]

    /// Nil if none of the results has a ledger.
    init?(_ results: [TrialResult]) {
        let recorded = results.filter { $0.exits != nil }
        if recorded.isEmpty { return nil }
        trials = recorded.count
        nanoseconds = recorded.reduce(0) { $0 + $1.ledgerNanoseconds }
        exits = Self.pooled(recorded.map { ($0.exits ?? []).filter { $0.handler != .inline } }, by: \.reason)
    }

    /// Lines with the same key as one, most expensive in total first.
    static func pooled(_ ledgers: [[ExitRecord]], by key: (ExitRecord) -> String) -> [PooledExit] {
        var groups: [String: [[ExitRecord]]] = [:]
        for ledger in ledgers {
            for (name, lines) in Dictionary(grouping: ledger.filter { $0.count > 0 }, by: key) {
                groups[name, default: []].append(lines)
            }
        }
        return groups.map { PooledExit(reason: $0, $1) }
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
