import Results
import Statistics

/// Exits of one reason, of several trials together. Times in TSC cycles.
public struct PooledExit: Sendable, Equatable {
    public var reason: String
    public var handler: ExitRecord.Handler
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

    /// The reason, and who dealt with it where that is not the VMM.
    public var title: String { handler == .vmm ? reason : "\(reason) (\(handler.rawValue))" }

    /// - Parameter trials: each trial's lines of the reason, with one exit at least.
    init(reason: String, handler: ExitRecord.Handler, _ trials: [[ExitRecord]]) {
        func median(_ value: (ExitTimes) -> UInt64) -> Double? {
            let values = trials.compactMap { lines in
                Self.middle(lines.compactMap { line in line.times.map { (Double(value($0)), line.count) } })
            }
            return (try? Observations(values))?.median
        }
        let records = trials.flatMap { $0 }
        let timed = records.filter { $0.times != nil }
        self.reason = reason
        self.handler = handler
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
    /// Most expensive in total first.
    public var exits: [PooledExit]
    /// Operations that translated code carried out itself, which are no exits.
    public var inline: [PooledExit]

    /// Nil if none of the results has a ledger.
    init?(_ results: [TrialResult]) {
        let recorded = results.filter { $0.exits != nil }
        if recorded.isEmpty { return nil }
        self.init(
            trials: recorded.count, nanoseconds: recorded.reduce(0) { $0 + $1.ledgerNanoseconds },
            ledgers: recorded.map { $0.exits ?? [] })
    }

    /// - Parameter ledgers: each trial's lines, or some of them.
    init(trials: Int, nanoseconds: Double, ledgers: [[ExitRecord]]) {
        self.trials = trials
        self.nanoseconds = nanoseconds
        exits = Self.pooled(ledgers.map { $0.filter { $0.handler != .inline } })
        inline = Self.pooled(ledgers.map { $0.filter { $0.handler == .inline } })
    }

    private struct Key: Hashable {
        var reason: String
        var handler: ExitRecord.Handler
    }

    /// Lines of the same reason and handler as one, most expensive in total first.
    private static func pooled(_ ledgers: [[ExitRecord]]) -> [PooledExit] {
        var groups: [Key: [[ExitRecord]]] = [:]
        for ledger in ledgers {
            let lines = Dictionary(grouping: ledger.filter { $0.count > 0 }) {
                Key(reason: $0.reason, handler: $0.handler)
            }
            for (key, lines) in lines { groups[key, default: []].append(lines) }
        }
        return groups.map { PooledExit(reason: $0.reason, handler: $0.handler, $1) }
            .sorted { ($1.totalCycles, $1.count, $0.title) < ($0.totalCycles, $0.count, $1.title) }
    }

    public var count: Double { exits.reduce(0) { $0 + $1.count } }

    /// Of all exits but those that wait.
    public var busyCycles: Double { exits.reduce(0) { $0 + ($1.isWaiting ? 0 : $1.totalCycles) } }
}
