/// A victim and an aggressor of one backend, side by side.
public struct ColocationRecord: Codable, Sendable, Equatable {
    public var name: String
    public var backend: String
    /// Workload names.
    public var victim: String
    public var aggressor: String
    /// The victim alone first.
    public var placements: [PlacementRecord]

    public init(
        name: String, backend: String, victim: String, aggressor: String, placements: [PlacementRecord] = []
    ) {
        self.name = name
        self.backend = backend
        self.victim = victim
        self.aggressor = aggressor
        self.placements = placements
    }
}

/// The trials of one placement.
public struct PlacementRecord: Codable, Sendable, Equatable {
    public enum Placement: String, Codable, Sendable, CaseIterable {
        /// No aggressor: the baseline.
        case alone
        case sameCPU = "same-cpu"
        case differentCPU = "different-cpu"
    }

    public var placement: Placement
    public var plannedTrials: Int
    /// In executed order.
    public var trials: [ColocationTrial]
    /// Why it has no trials, e.g. a host with one CPU.
    public var skipped: String?
    /// Computed from the trials by `RunReport.analyze()` of Report; nil until then.
    public var analysis: PlacementAnalysis?

    public init(placement: Placement, plannedTrials: Int, trials: [ColocationTrial] = [], skipped: String? = nil) {
        self.placement = placement
        self.plannedTrials = plannedTrials
        self.trials = trials
        self.skipped = skipped
    }
}

/// One run of the victim, alone or with the aggressor beside it.
public struct ColocationTrial: Codable, Sendable, Equatable {
    /// Number of the trial in its placement, from 0. Trials of the same index in different placements are a pair.
    public var index: Int
    /// Its place in the order in which the run's trials were executed, from 0.
    public var order: Int
    public var startedSeconds: Double
    public var victimCPU: Int?
    public var aggressorCPU: Int?
    public var victim: TrialResult
    /// Every run of the aggressor that the victim's run overlapped, in order; empty when alone.
    public var aggressors: [TrialResult]

    public init(
        index: Int, order: Int, startedSeconds: Double, victimCPU: Int?, aggressorCPU: Int?, victim: TrialResult,
        aggressors: [TrialResult] = []
    ) {
        self.index = index
        self.order = order
        self.startedSeconds = startedSeconds
        self.victimCPU = victimCPU
        self.aggressorCPU = aggressorCPU
        self.victim = victim
        self.aggressors = aggressors
    }
}
