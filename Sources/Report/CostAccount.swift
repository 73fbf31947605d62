import Results
import Statistics

/// What the exits of one reason cost a unit of work.
public struct ExitCost: Sendable, Equatable {
    public var reason: String
    /// Exits a unit.
    public var count: Double
    /// Of one exit, in nanoseconds; nil where none was timed.
    public var meanNanoseconds: Double?
    /// `count` times the mean.
    public var nanoseconds: Double
    /// Time with nothing to do, which is no cost and not in the sum.
    public var isWaiting: Bool
}

/// The ledgers of a cell's trials, divided by the work they did.
public struct LedgerCosts: Sendable, Equatable {
    /// Most expensive first.
    public var exits: [ExitCost]
    /// What the ledgers cover, of one trial: from the machine's start to the program's end.
    public var coveredNanoseconds: Double
    /// The part of it that is timed rounds, warm-up included, 0 to 1.
    public var timedShare: Double
    /// The other part by the units of work: the most that exits outside of the timed rounds can have in the sum.
    public var outsideNanoseconds: Double

    /// Nanoseconds a unit in exits of all reasons, those that wait left out.
    public var sum: Double { exits.reduce(0) { $0 + ($1.isWaiting ? 0 : $1.nanoseconds) } }

    func nanoseconds(of reason: String) -> Double { exits.first { $0.reason == reason }?.nanoseconds ?? 0 }
}

/// Where the time of a cell goes, in nanoseconds for a unit of work. `overhead` is `exits.sum` and `residual`, whatever its sign.
public struct CostAccount: Sendable, Equatable {
    public var backend: String
    public var variant: String
    public var options: [String: String]
    /// Medians over the trials that passed here and on native; `overhead` is the median of the pairs' differences.
    public var native: Figure
    public var time: Figure
    public var overhead: Figure
    /// Median of the pairs' ratios.
    public var slowdown: Figure
    /// Exits of the same trials.
    public var exits: LedgerCosts?
    public var exitsMissing: String?
    /// Counters of the same trials for a unit, of the whole run.
    public var counters: [String: Double]
    /// Why a counter is missing.
    public var countersMissing: [String: String]
    /// What the VMM decided in the first of these trials.
    public var decisions: [String]
    /// Time of each trial by index.
    var trialTimes: [Int: Double]

    public var name: String { CellName.text(backend, variant) }

    /// What is in no timed exit.
    public var residual: Figure {
        guard let value = overhead.value else { return overhead }
        guard let exits else { return .unavailable(reason: exitsMissing ?? "the backend gave no ledger") }
        return Figure(value - exits.sum)
    }

    /// Whether exits take more time than the work does. Most of them are of boot and warm-up then, and say little of the work.
    public var exitsExceedTime: Bool { (exits?.sum ?? 0) > time.value ?? .infinity }

    /// - Parameters:
    ///   - native: work of native trials that passed, by index.
    ///   - unit: the workload's.
    init(
        _ cell: CellRecord, native: [Int: TimedWork], unit: CostUnit, rules: TrialRules, tscHertz: Double?,
        estimator: Estimator
    ) {
        backend = cell.backend
        variant = cell.variant
        options = cell.options
        let all = cell.passedTrials(rules).sorted { $0.index < $1.index }.compactMap { trial in
            let work = TimedWork(trial.result, rules: rules)
            return work.nanoseconds(per: unit, amount: work).map {
                Trial(
                    index: trial.index, result: trial.result, work: work, time: $0,
                    native: native[trial.index]?.nanoseconds(per: unit, amount: work))
            }
        }
        let paired = all.filter { $0.native != nil }
        let trials = paired.isEmpty ? all : paired
        let missing = cell.skipped ?? distinctFailures(cell.trials.map(\.result), rules: rules).messages.first
        time = Self.median(trials.map(\.time), else: missing ?? "no trial was run")
        trialTimes = Dictionary(trials.map { ($0.index, $0.time) }) { first, _ in first }
        let unpaired = all.isEmpty ? time.reason! : "no trial passed both here and native"
        self.native = Self.median(paired.compactMap(\.native), else: unpaired)
        overhead = Self.median(paired.map { $0.time - $0.native! }, else: unpaired)
        slowdown =
            paired.isEmpty
            ? .unavailable(reason: unpaired)
            : Figure { () throws(StatisticsError) in
                try estimator.pairedRatio(base: paired.map { $0.native! }, new: paired.map(\.time))
            }
        let recorded = trials.filter { $0.result.exits != nil }
        exits = tscHertz.flatMap { LedgerCosts(recorded, unit: unit, tscHertz: $0) }
        if exits == nil {
            exitsMissing =
                all.isEmpty
                ? time.reason : recorded.isEmpty ? cell.missingLedgerReason(rules) : "the TSC frequency is unknown"
        }
        (counters, countersMissing) = Self.counters(trials, unit: unit)
        decisions = trials.first?.result.decisions ?? []
    }

    fileprivate struct Trial {
        var index: Int
        var result: TrialResult
        var work: TimedWork
        var time: Double
        var native: Double?
    }

    private static func median(_ values: [Double], else reason: String) -> Figure {
        guard let observations = try? Observations(values) else { return .unavailable(reason: reason) }
        return Figure(observations.median)
    }

    private static func counters(_ trials: [Trial], unit: CostUnit) -> ([String: Double], [String: String]) {
        let units = trials.reduce(0) { $0 + $1.work.count(of: unit) }
        var sums: [String: Double] = [:]
        var missing: [String: String] = [:]
        for trial in trials {
            sums.merge(trial.result.counters, uniquingKeysWith: +)
            missing.merge(trial.result.countersUnavailable) { first, _ in first }
        }
        return (units > 0 ? sums.mapValues { $0 / units } : [:], missing)
    }
}

extension LedgerCosts {
    fileprivate init?(_ trials: [CostAccount.Trial], unit: CostUnit, tscHertz: Double) {
        let units = trials.reduce(0) { $0 + $1.work.count(of: unit) }
        guard let ledger = PooledLedger(trials.map(\.result)), units > 0, ledger.nanoseconds > 0 else { return nil }
        let nanosecondsPerCycle = 1e9 / tscHertz
        exits = ledger.exits.map { exit in
            ExitCost(
                reason: exit.reason, count: exit.count / units,
                meanNanoseconds: exit.meanCycles.map { $0 * nanosecondsPerCycle },
                nanoseconds: exit.totalCycles * nanosecondsPerCycle / units, isWaiting: exit.isWaiting)
        }
        let timed = min(ledger.nanoseconds, trials.reduce(0) { $0 + $1.work.roundNanoseconds })
        coveredNanoseconds = ledger.nanoseconds / Double(ledger.trials)
        timedShare = timed / ledger.nanoseconds
        outsideNanoseconds = (ledger.nanoseconds - timed) / units
    }
}
