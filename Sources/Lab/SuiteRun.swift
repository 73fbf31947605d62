import Backends
import Results
import Suite

/// Runs a plan, trial by trial, into the records of a report.
public final class SuiteRun {
    private let suite: Suite
    private let plan: Plan
    private let supervisor: Supervisor
    private let cpus: CPUPlacement
    private let seed: UInt64
    private let progress: any RunProgress
    private let specifier: TrialSpecifier
    private let startTime = MonotonicClock.now()
    /// Native output of the workloads that must match it.
    private var references: [String: Result<OutputDigest, TrialFailure>] = [:]

    /// In the plan's order, with the trials so far.
    public private(set) var cells: [CellRecord]
    /// In the plan's order, with the trials so far.
    public private(set) var colocations: [ColocationRecord]
    /// Trials that were run.
    public private(set) var executed = 0

    /// A victim may take longer beside an aggressor, by up to this factor, before it counts as hanging.
    private static let colocationPatience = 5.0

    public init(
        _ suite: Suite, plan: Plan, supervisor: Supervisor, cpus: CPUPlacement, seed: UInt64,
        progress: any RunProgress
    ) {
        self.suite = suite
        self.plan = plan
        self.supervisor = supervisor
        self.cpus = cpus
        self.seed = seed
        self.progress = progress
        specifier = TrialSpecifier(files: SuiteFiles(), cpus: cpus)
        cells = plan.cells.map {
            CellRecord(
                workload: $0.workload, backend: $0.backend, variant: $0.variant.name, options: $0.variant.options,
                plannedTrials: $0.trials, skipped: $0.skipped)
        }
        colocations = []
        for neighbourhood in plan.neighbourhoods {
            let colocation = neighbourhood.colocation
            if colocations.last?.name != colocation.name || colocations.last?.backend != neighbourhood.backend {
                colocations.append(
                    ColocationRecord(
                        name: colocation.name, backend: neighbourhood.backend, victim: colocation.victim,
                        aggressor: colocation.aggressor))
            }
            colocations[colocations.count - 1].placements.append(
                PlacementRecord(
                    placement: neighbourhood.placement, plannedTrials: neighbourhood.trials,
                    skipped: neighbourhood.skipped))
        }
        supervisor.onTick = { progress.tick() }
    }

    /// Whether every planned trial was run.
    public var isComplete: Bool { executed == plan.steps.count }

    /// Trials that gave no valid result.
    public var failedTrials: Int {
        cells.reduce(0) { $0 + $1.trials.count { $0.result.failureKind != nil } }
            + colocations.flatMap(\.placements).reduce(0) { $0 + $1.trials.count { $0.victim.failureKind != nil } }
    }

    /// Runs all trials, or those before an interrupt. A trial that an interrupt ended is not recorded.
    public func run() {
        progress.began(total: plan.steps.count)
        takeReferences()
        var remaining = RemainingTime()
        for (number, step) in plan.steps.enumerated() {
            if supervisor.isInterrupted { break }
            let begin = MonotonicClock.now()
            let title = title(of: step)
            progress.started(title, number: number)
            let result = run(step, order: number)
            if supervisor.isInterrupted { break }
            executed += 1
            remaining.add((MonotonicClock.now() - begin) / 1e9, of: step.subject)
            progress.finished(
                title, number: number, result: result,
                remainingSeconds: remaining.seconds(for: plan.steps[(number + 1)...]))
        }
        progress.ended()
    }

    private func title(of step: Plan.Step) -> String {
        switch step.subject {
        case .cell(let index): plan.cells[index].title
        case .neighbourhood(let index): plan.neighbourhoods[index].title
        case .profile(let index): "profile of \(plan.cells[index].title)"
        }
    }

    private func run(_ step: Plan.Step, order: Int) -> TrialResult {
        let started = (MonotonicClock.now() - startTime) / 1e9
        switch step.subject {
        case .cell(let index):
            let cell = plan.cells[index]
            var cpu: Int?
            let result = attempt(cell.workload, cell.backend, cell.variant.options, trial: step.trial) {
                cpu = $1.cpu
                return supervisor.run($0, $1)
            }
            guard !supervisor.isInterrupted else { return result }
            cells[index].trials.append(
                TrialRecord(index: step.trial, order: order, cpu: cpu, startedSeconds: started, result: result))
            return result
        case .profile(let index):
            let cell = plan.cells[index]
            let result = attempt(cell.workload, cell.backend, cell.variant.options, trial: step.trial) {
                var specification = $1
                specification.profilesExits = true
                return supervisor.run($0, specification)
            }
            if !supervisor.isInterrupted { cells[index].profile = result }
            return result
        case .neighbourhood(let index):
            let trial = colocationTrial(plan.neighbourhoods[index], step, order: order, started: started)
            guard !supervisor.isInterrupted else { return trial.victim }
            let neighbourhood = plan.neighbourhoods[index]
            for record in colocations.indices
            where colocations[record].name == neighbourhood.colocation.name
                && colocations[record].backend == neighbourhood.backend
            {
                for placement in colocations[record].placements.indices
                where colocations[record].placements[placement].placement == neighbourhood.placement {
                    colocations[record].placements[placement].trials.append(trial)
                }
            }
            return trial.victim
        }
    }

    private func colocationTrial(
        _ neighbourhood: Plan.Neighbourhood, _ step: Plan.Step, order: Int, started: Double
    ) -> ColocationTrial {
        var trial = ColocationTrial(
            index: step.trial, order: order, startedSeconds: started, victimCPU: cpus.measured, aggressorCPU: nil,
            victim: .failure(.internalError, "not run"))
        trial.victim = attempt(neighbourhood.colocation.victim, neighbourhood.backend, [:], trial: step.trial) {
            backend, specification in
            var victim = specification
            victim.cpu = cpus.measured
            victim.timeLimitSeconds *= Self.colocationPatience
            guard neighbourhood.placement != .alone else { return supervisor.run(backend, victim) }
            guard let workload = suite.workload(named: neighbourhood.colocation.aggressor) else {
                return .failure(.invalid, "the suite has no workload \(neighbourhood.colocation.aggressor)")
            }
            var aggressor: TrialSpecification
            do {
                aggressor = try specifier.specification(workload, options: [:], seed: seed &+ UInt64(step.trial))
            } catch {
                return .failure(.invalid, "aggressor: \(error)")
            }
            aggressor.cpu = neighbourhood.placement == .sameCPU ? cpus.measured : cpus.other
            aggressor.timeLimitSeconds = victim.timeLimitSeconds + 2 * ChildProcess.graceSeconds
            trial.aggressorCPU = aggressor.cpu
            let result = supervisor.run(victim: victim, aggressor: aggressor, backend: backend)
            trial.aggressors = result.aggressors
            return result.victim
        }
        return trial
    }

    /// One checked trial of a workload; what cannot be specified is a failed trial.
    private func attempt(
        _ name: String, _ backend: String, _ options: [String: String], trial: Int,
        _ body: (BackendName, TrialSpecification) -> TrialResult
    ) -> TrialResult {
        guard let workload = suite.workload(named: name), let backend = BackendName(rawValue: backend) else {
            return .failure(.invalid, "the suite has no workload \(name), or vbench no backend \(backend)")
        }
        do {
            let specification = try specifier.specification(workload, options: options, seed: seed &+ UInt64(trial))
            let check = TrialCheck(expectation: workload.expected, native: references[name])
            return check.apply(to: body(backend, specification))
        } catch {
            return .failure(.invalid, "\(error)")
        }
    }

    /// Runs the workloads whose output must match the native one once natively, before anything is measured.
    private func takeReferences() {
        let running = Set(plan.cells.filter { $0.skipped == nil }.map(\.workload))
            .union(plan.neighbourhoods.filter { $0.skipped == nil }.map(\.colocation.victim))
        for workload in suite.workloads where workload.expected.outputMatchesNative && running.contains(workload.name) {
            guard !supervisor.isInterrupted else { return }
            let result = attempt(workload.name, BackendName.native.rawValue, [:], trial: 0) { supervisor.run($0, $1) }
            switch result.status {
            case .failed(let failure): references[workload.name] = .failure(failure)
            case .exited, .signaled: references[workload.name] = .success(result.standardOutput)
            }
        }
    }
}
