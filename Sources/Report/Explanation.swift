import Results
import Statistics

/// Why a workload takes the time it takes on each backend, as far as a report tells.
public struct Explanation: Sendable {
    /// Two cells, and what makes the difference.
    public struct Contest: Sendable, Equatable {
        public var winner: CostAccount
        public var loser: CostAccount
        /// Time of the loser by that of the winner: the median of the pairs' ratios.
        public var ratio: Figure
        /// Loser's nanoseconds less the winner's, by reason; nil is what is in no timed exit. Largest first. Together they are the
        /// difference of the overheads. Empty where a ledger is missing.
        public var differences: [(reason: String?, nanoseconds: Double)]

        public static func == (a: Self, b: Self) -> Bool {
            a.winner == b.winner && a.loser == b.loser && a.ratio == b.ratio
                && a.differences.elementsEqual(b.differences) { $0 == $1 }
        }
    }

    public var workload: String
    public var unit: CostUnit
    /// Every cell of the workload but native's, in the report's order.
    public var accounts: [CostAccount]
    /// The hardware VMM's fastest cell against the software VMM's; nil unless both have a time.
    public var techniques: Contest?
    /// The software VMM's fastest cell against its next; nil unless two have a time.
    public var variants: Contest?
    /// Of a program with several timed phases, each phase's accounts; empty otherwise, and where ledgers do not tell phases apart.
    public var phases: [(name: String, accounts: [CostAccount])] = []
    /// What KVM is here, by the report; nil where it is not said.
    public var hardwareAssisted: Bool?

    /// - Parameters:
    ///   - workload: one that the report has cells of.
    ///   - phase: only this timed phase's operations; nil: all that the program times.
    public init(_ report: RunReport, workload: String, phase: String? = nil) {
        self.workload = workload
        let rules = TrialRules(suite: report.suite.resolved, workload: workload)
        let estimator = Estimator(seed: report.seed)
        let cells = report.cells.filter { $0.workload == workload }
        func works(_ cell: CellRecord) -> [Int: TimedWork] {
            Dictionary(cell.passedTrials(rules).map { ($0.index, TimedWork($0.result, rules: rules)) }) { first, _ in
                first
            }
        }
        let unit = phase.map(CostUnit.phase) ?? CostUnit(cells.flatMap { works($0).values })
        self.unit = unit
        let natives = cells.filter { $0.backend == "native" }
        let accounts = cells.filter { $0.backend != "native" }.map { cell in
            // As for slowdowns: the variant's counterpart, else native's only form.
            let native = natives.first { $0.variant == cell.variant } ?? natives.first
            return CostAccount(
                cell, native: native.map(works) ?? [:], unit: unit, rules: rules,
                tscHertz: report.host.knownTSCHertz, estimator: estimator)
        }
        self.accounts = accounts
        func ranking(_ backend: String) -> [CostAccount] {
            accounts.filter { $0.backend == backend && $0.time.value != nil }.sorted { $0.time.value! < $1.time.value! }
        }
        let software = ranking("software")
        if let hardware = ranking("kvm").first, let fastest = software.first {
            techniques = Contest(hardware, fastest, estimator)
        }
        if software.count > 1 { variants = Contest(software[0], software[1], estimator) }
        let kvm = report.backends.first { $0.name == "kvm" }
        if case .bool(let assisted)? = kvm?.facts["hardwareAssisted"] { hardwareAssisted = assisted }
        if case .trial(let names) = unit, accounts.contains(where: { $0.exits?.isOfRounds == true }) {
            phases = names.map { ($0, Explanation(report, workload: workload, phase: $0).accounts) }
        }
    }
}

extension Explanation.Contest {
    fileprivate init(_ a: CostAccount, _ b: CostAccount, _ estimator: Estimator) {
        (winner, loser) = a.time.value! <= b.time.value! ? (a, b) : (b, a)
        let (base, new) = (winner.trialTimes, loser.trialTimes)
        let indices = base.keys.filter { new[$0] != nil }.sorted()
        ratio =
            indices.isEmpty
            ? .unavailable(reason: "no trial passed on both")
            : Figure { () throws(StatisticsError) in
                try estimator.pairedRatio(base: indices.map { base[$0]! }, new: indices.map { new[$0]! })
            }
        differences = []
        guard let fast = winner.exits, let slow = loser.exits, let rest = loser.residual.value,
            let winnersRest = winner.residual.value
        else { return }
        let reasons = Set((fast.exits + slow.exits).filter { !$0.isWaiting }.map(\.reason)).sorted()
        differences = reasons.map { ($0, slow.nanoseconds(of: $0) - fast.nanoseconds(of: $0)) }
        differences.append((nil, rest - winnersRest))
        differences.sort { $0.nanoseconds > $1.nanoseconds }
    }
}
