import Results
import Statistics
import Suite

/// Everything that a run will do, in order: made before the first trial, from the suite and the seed alone.
public struct Plan: Sendable, Equatable {
    /// A workload on a backend in a variant.
    public struct Cell: Sendable, Equatable {
        public var workload: String
        public var backend: String
        public var variant: Variant
        public var trials: Int
        /// Why it is not run, e.g. an unavailable backend.
        public var skipped: String?

        /// As people read it: `matmul on kvm`, with the variant where there is more than the default.
        public var title: String {
            "\(workload) on \(backend)" + (variant.name == Variant.defaultName ? "" : " (\(variant.name))")
        }
    }

    /// One placement of a co-location on a backend.
    public struct Neighbourhood: Sendable, Equatable {
        public var colocation: Colocation
        public var backend: String
        public var placement: PlacementRecord.Placement
        public var trials: Int
        public var skipped: String?

        public var title: String {
            let neighbour =
                switch placement {
                case .alone: "alone"
                case .sameCPU: "with \(colocation.aggressor), same CPU"
                case .differentCPU: "with \(colocation.aggressor), other CPU"
                }
            return "\(colocation.victim) on \(backend) \(neighbour)"
        }
    }

    /// One trial.
    public struct Step: Sendable, Equatable {
        public enum Subject: Sendable, Equatable, Hashable {
            /// Index into `cells`.
            case cell(Int)
            /// Index into `neighbourhoods`.
            case neighbourhood(Int)
            /// Index into `cells`: the trial that notes where exits come from.
            case profile(Int)
        }

        public var subject: Subject
        /// Number of the trial in its subject, from 0.
        public var trial: Int
    }

    public var cells: [Cell]
    public var neighbourhoods: [Neighbourhood]
    /// In the order of execution.
    public var steps: [Step]

    /// Plans a suite.
    ///
    /// Trials go in rounds. A round has one trial of every cell and placement that still has some, in random order, so
    /// that drift of the host hits every backend alike, and trials of one round can be compared as pairs.
    ///
    /// - Parameters:
    ///   - availability: why a backend cannot be used; nil when it can.
    ///   - placementObstacle: why a placement cannot be had on this host; nil when it can.
    ///   - trials: overrides every number of trials in the suite.
    ///   - profile: whether cells on VMMs get a profile trial, after all others; nil: as the suite says.
    public init(
        _ suite: Suite, seed: UInt64, trials: Int? = nil, profile: Bool? = nil, availability: (String) -> String?,
        placementObstacle: (PlacementRecord.Placement) -> String?
    ) {
        cells = suite.workloads.flatMap { workload in
            workload.backends.flatMap { backend in
                workload.variants(on: backend).map { variant in
                    Cell(
                        workload: workload.name, backend: backend, variant: variant,
                        trials: trials ?? workload.trials, skipped: availability(backend))
                }
            }
        }
        neighbourhoods = suite.colocation.flatMap { colocation in
            colocation.backends.flatMap { backend in
                let placements = colocation.placements.map { placement -> PlacementRecord.Placement in
                    switch placement {
                    case .sameCPU: .sameCPU
                    case .differentCPU: .differentCPU
                    }
                }
                return ([.alone] + placements).map { placement in
                    Neighbourhood(
                        colocation: colocation, backend: backend, placement: placement,
                        trials: trials ?? colocation.trials,
                        skipped: availability(backend) ?? placementObstacle(placement))
                }
            }
        }
        steps = Self.steps(cells, neighbourhoods, seed: seed)
        guard profile ?? suite.profile else { return }
        steps += cells.indices.filter { cells[$0].skipped == nil && Self.profiled.contains(cells[$0].backend) }
            .map { Step(subject: .profile($0), trial: 0) }
    }

    /// Backends that can tell where exits come from.
    private static let profiled: Set<String> = ["kvm", "software"]

    private static func steps(_ cells: [Cell], _ neighbourhoods: [Neighbourhood], seed: UInt64) -> [Step] {
        var subjects: [(subject: Step.Subject, trials: Int)] = []
        for (index, cell) in cells.enumerated() where cell.skipped == nil {
            subjects.append((.cell(index), cell.trials))
        }
        for (index, neighbourhood) in neighbourhoods.enumerated() where neighbourhood.skipped == nil {
            subjects.append((.neighbourhood(index), neighbourhood.trials))
        }
        var generator = Xoshiro256(seed: seed)
        let rounds = subjects.map(\.trials).max() ?? 0
        return (0..<rounds).flatMap { round in
            subjects.filter { $0.trials > round }.map { Step(subject: $0.subject, trial: round) }
                .shuffled(using: &generator)
        }
    }
}
