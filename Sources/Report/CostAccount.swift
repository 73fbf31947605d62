import Results
import Statistics

/// What the exits of one reason cost a unit of work.
public struct ExitCost: Sendable, Equatable {
    /// The reason, with who dealt with it where that is not the VMM; or `LedgerCosts.transition`.
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
    /// What the way from guest to VMM and back takes, beside the exits' own times.
    public static let transition = "transition"

    /// Most expensive first.
    public var exits: [ExitCost]
    /// Operations a unit that translated code carried out itself, by reason.
    public var inline: [ExitCost]
    /// Whether the lines are those of the timed rounds and no others. Else they are of the time from the machine's start to the
    /// program's end.
    public var isOfRounds: Bool
    /// What the lines cover, of one trial.
    public var coveredNanoseconds: Double
    /// The part of it that is timed rounds, warm-up included, 0 to 1.
    public var timedShare: Double
    /// The other part by the units of work: the most that exits outside of the timed rounds can have in the sum.
    public var outsideNanoseconds: Double
    /// Time of a unit outside of the VMM, less transitions and what KVM does: guest code itself. Nil where it is not told apart.
    public var guestNanoseconds: Double?
    /// Whether `exits` has what KVM handles itself, from the cell's profile trial.
    public var hasKernelExits = false

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
    /// The overhead that the exits are part of: where ledgers tell the rounds apart, in the mean of all of them, since ledgers are
    /// of all of them; else `overhead`.
    public var accounted: Figure
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
        guard let value = accounted.value else { return accounted }
        guard let exits else { return .unavailable(reason: exitsMissing ?? "the backend gave no ledger") }
        return Figure(value - exits.sum)
    }

    /// The part of the overhead that exits explain: 0 to 1, and more where the residual is negative. Nil without an overhead.
    public var explainedShare: Double? {
        guard let exits, let value = accounted.value, value > 0 else { return nil }
        return exits.sum / value
    }

    /// Whether exits take more time than the work does. Most of them are of boot and warm-up then, and say little of the work.
    public var exitsExceedTime: Bool {
        guard let exits, !exits.isOfRounds else { return false }
        return exits.sum > time.value ?? .infinity
    }

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
                    native: native[trial.index]?.nanoseconds(per: unit, amount: work),
                    extra: Self.extra(work, native[trial.index], unit))
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
        if let profile = cell.profile, let tscHertz {
            exits?.add(profile, TimedWork(profile, rules: rules), unit: unit, tscHertz: tscHertz)
        }
        if exits == nil {
            exitsMissing =
                all.isEmpty
                ? time.reason : recorded.isEmpty ? cell.missingLedgerReason(rules) : "the TSC frequency is unknown"
        }
        let units = paired.reduce(0) { $0 + $1.work.count(of: unit) }
        accounted = overhead
        if exits?.isOfRounds == true, !paired.isEmpty, units > 0 {
            accounted = Figure(paired.reduce(0) { $0 + ($1.extra ?? 0) } / units)
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
        /// Nanoseconds that all rounds took more than as many native ones.
        var extra: Double?
    }

    private static func extra(_ work: TimedWork, _ native: TimedWork?, _ unit: CostUnit) -> Double? {
        guard let own = work.meanNanoseconds(per: unit, amount: work),
            let other = native?.meanNanoseconds(per: unit, amount: work)
        else { return nil }
        return (own - other) * work.count(of: unit)
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
        let nanosecondsPerCycle = 1e9 / tscHertz
        let parts = trials.compactMap { LedgerPart($0.result, unit: unit) }
        let isOfRounds = !parts.isEmpty && parts.count == trials.count
        let covered =
            isOfRounds
            ? parts.reduce(0) { $0 + $1.cycles } * nanosecondsPerCycle
            : trials.reduce(0) { $0 + $1.result.ledgerNanoseconds }
        guard !trials.isEmpty, units > 0, covered > 0 else { return nil }
        let ledgers = isOfRounds ? parts.map(\.exits) : trials.map { $0.result.exits ?? [] }
        let ledger = PooledLedger(trials: trials.count, nanoseconds: covered, ledgers: ledgers)
        func cost(_ exit: PooledExit) -> ExitCost {
            ExitCost(
                reason: exit.handler == .inline ? exit.reason : exit.title, count: exit.count / units,
                meanNanoseconds: exit.meanCycles.map { $0 * nanosecondsPerCycle },
                nanoseconds: exit.totalCycles * nanosecondsPerCycle / units, isWaiting: exit.isWaiting)
        }
        exits = ledger.exits.map(cost)
        inline = ledger.inline.map(cost)
        var transitions: (count: Double, cycles: Double) = (0, 0)
        for line in ledgers.joined() where line.reason != ExitTotals.waitingReason {
            guard let cycles = line.transitionCycles else { continue }
            transitions.count += Double(line.count)
            transitions.cycles += Double(line.count) * Double(cycles)
        }
        let transition = transitions.cycles * nanosecondsPerCycle / units
        if transitions.count > 0 {
            exits.append(
                ExitCost(
                    reason: Self.transition, count: transitions.count / units,
                    meanNanoseconds: transitions.cycles / transitions.count * nanosecondsPerCycle,
                    nanoseconds: transition, isWaiting: false))
            exits.sort { $0.nanoseconds > $1.nanoseconds }
        }
        self.isOfRounds = isOfRounds
        coveredNanoseconds = covered / Double(trials.count)
        let timed = isOfRounds ? covered : min(covered, trials.reduce(0) { $0 + $1.work.roundNanoseconds })
        timedShare = timed / covered
        outsideNanoseconds = (covered - timed) / units
        if isOfRounds {
            let guest = parts.reduce(0) { $0 + $1.guestCycles } * nanosecondsPerCycle / units
            guestNanoseconds = guest - transition
        }
    }
}

extension LedgerCosts {
    /// Adds the exits that KVM handled itself in a profile trial, by the work of that trial. Their number is the workload's, and
    /// their times are without what recording them took, so both hold for trials that record nothing.
    fileprivate mutating func add(_ profile: TrialResult, _ work: TimedWork, unit: CostUnit, tscHertz: Double) {
        let units = work.count(of: unit)
        guard isOfRounds, units > 0, let part = LedgerPart(profile, unit: unit) else { return }
        let nanosecondsPerCycle = 1e9 / tscHertz
        let ledger = PooledLedger(trials: 1, nanoseconds: 0, ledgers: [part.exits.filter { $0.handler == .kvm }])
        guard !ledger.exits.isEmpty else { return }
        hasKernelExits = true
        for exit in ledger.exits {
            let cost = ExitCost(
                reason: exit.title, count: exit.count / units,
                meanNanoseconds: exit.meanCycles.map { $0 * nanosecondsPerCycle },
                nanoseconds: exit.totalCycles * nanosecondsPerCycle / units, isWaiting: exit.isWaiting)
            exits.append(cost)
            guestNanoseconds? -= cost.nanoseconds
        }
        exits.sort { $0.nanoseconds > $1.nanoseconds }
    }
}

/// The part of a trial's ledger that is of the work timed.
private struct LedgerPart {
    var exits: [ExitRecord]
    var cycles: Double
    var guestCycles: Double

    /// Nil where the ledger does not tell it from the rest.
    init?(_ result: TrialResult, unit: CostUnit) {
        guard let exits = result.exits, let phases = result.phases else { return nil }
        let chosen = phases.filter { phase in
            switch unit {
            case .operation, .trial: phase.timed
            case .phase(let name): phase.timed && phase.name == name
            case .run: phase.timed || phase.name == "program"
            }
        }
        if chosen.isEmpty { return nil }
        let names = Set(chosen.map(\.name))
        self.exits = exits.filter { $0.phase.map(names.contains) ?? false }
        cycles = chosen.reduce(0) { $0 + Double($1.cycles) }
        guestCycles = chosen.reduce(0) { $0 + Double($1.guestCycles) }
    }
}
