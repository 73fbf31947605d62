import Foundation

/// Everything that one run of a suite gave: the content of `report.json`.
///
/// A new field that readers may ignore keeps the version; anything else raises it.
public struct RunReport: Codable, Sendable, Equatable {
    public static let currentSchemaVersion = 2
    /// Version 1 has no phases in its ledgers.
    public static let readableSchemaVersions = 1...2

    public var schemaVersion: Int
    public var generator: Generator
    /// To the second, UTC.
    public var started: Date
    /// Nil while the run goes on.
    public var finished: Date?
    public var commandLine: [String]
    /// Seed of the order of trials.
    public var seed: UInt64
    public var host: HostRecord
    public var suite: SuiteRecord
    /// In the suite's order.
    public var backends: [BackendRecord]
    /// In suite order: workload, then backend, then variant.
    public var cells: [CellRecord]
    public var colocations: [ColocationRecord]
    /// Whether every planned trial was run.
    public var complete: Bool
    /// Why not.
    public var incompleteReason: String?

    public init(generator: Generator, started: Date, seed: UInt64, host: HostRecord, suite: SuiteRecord) {
        schemaVersion = Self.currentSchemaVersion
        self.generator = generator
        self.started = Date(timeIntervalSince1970: started.timeIntervalSince1970.rounded(.down))
        commandLine = []
        self.seed = seed
        self.host = host
        self.suite = suite
        backends = []
        cells = []
        colocations = []
        complete = false
    }

    /// The cell of that name, if it was planned.
    public func cell(workload: String, backend: String, variant: String = "default") -> CellRecord? {
        cells.first { $0.workload == workload && $0.backend == backend && $0.variant == variant }
    }
}

/// The program that wrote a report.
public struct Generator: Codable, Sendable, Equatable {
    public var name: String
    public var version: String
    /// Commit it was built from, where known.
    public var commit: String?

    public init(name: String = "vbench", version: String, commit: String? = nil) {
        self.name = name
        self.version = version
        self.commit = commit
    }
}

/// What the host was like.
public struct HostRecord: Codable, Sendable, Equatable {
    /// TSC frequency that turns the ledgers' cycles into time; nil where it could not be found.
    public var tscHertz: Double?
    /// Everything found out about the host, by name.
    public var facts: [String: JSON]
    public var capabilities: [Capability]

    public init(tscHertz: Double? = nil, facts: [String: JSON] = [:], capabilities: [Capability] = []) {
        self.tscHertz = tscHertz
        self.facts = facts
        self.capabilities = capabilities
    }

    /// Something that a host may offer.
    public struct Capability: Codable, Sendable, Equatable {
        public var name: String
        public var present: Bool
        /// What was found, or why it is absent.
        public var detail: String

        public init(name: String, present: Bool, detail: String) {
            self.name = name
            self.present = present
            self.detail = detail
        }
    }
}

/// The suite that was run.
public struct SuiteRecord: Codable, Sendable, Equatable {
    public var name: String
    public var path: String
    /// Lower-case hexadecimal SHA-256 of the suite file.
    public var sha256: String?
    /// The suite with every default filled in; it validates as a suite file.
    public var resolved: JSON
    /// What programs of the host were packed with; nil in reports of versions that did not say.
    public var hostPrograms: [HostProgramRecord]?

    public init(name: String, path: String, sha256: String? = nil, resolved: JSON) {
        self.name = name
        self.path = path
        self.sha256 = sha256
        self.resolved = resolved
    }
}

/// A backend of the suite on this host.
public struct BackendRecord: Codable, Sendable, Equatable {
    public var name: String
    public var available: Bool
    /// The technique as found here, e.g. the KVM flavour.
    public var detail: String?
    /// Why it is unavailable, and what to do.
    public var reason: String?
    public var remedy: String?
    /// Facts for readers, e.g. `flavour`, `hardwareAssisted`.
    public var facts: [String: JSON]

    public init(
        name: String, available: Bool, detail: String? = nil, reason: String? = nil, remedy: String? = nil,
        facts: [String: JSON] = [:]
    ) {
        self.name = name
        self.available = available
        self.detail = detail
        self.reason = reason
        self.remedy = remedy
        self.facts = facts
    }
}

/// A workload on a backend in a variant, with all its trials.
public struct CellRecord: Codable, Sendable, Equatable {
    public var workload: String
    public var backend: String
    public var variant: String
    /// Backend options of the variant.
    public var options: [String: String]
    /// Trials the plan has for it.
    public var plannedTrials: Int
    /// In executed order.
    public var trials: [TrialRecord]
    /// The trial that noted where exits come from, and whose times count for nothing; nil where there was none.
    public var profile: TrialResult?
    /// Why it has no trials at all, e.g. an unavailable backend.
    public var skipped: String?
    /// Computed from the trials by `RunReport.analyze()` of Report; nil until then.
    public var analysis: CellAnalysis?

    public init(
        workload: String, backend: String, variant: String = "default", options: [String: String] = [:],
        plannedTrials: Int, trials: [TrialRecord] = [], skipped: String? = nil
    ) {
        self.workload = workload
        self.backend = backend
        self.variant = variant
        self.options = options
        self.plannedTrials = plannedTrials
        self.trials = trials
        self.skipped = skipped
    }
}

/// One run of a cell.
public struct TrialRecord: Codable, Sendable, Equatable {
    /// Number of the trial in its cell, from 0. Trials of the same workload and index on different backends are a pair.
    public var index: Int
    /// Its place in the order in which the run's trials were executed, from 0.
    public var order: Int
    /// Host CPU it was pinned to; nil when it floated.
    public var cpu: Int?
    /// Start of the trial after the start of the run.
    public var startedSeconds: Double
    public var result: TrialResult

    public init(index: Int, order: Int, cpu: Int?, startedSeconds: Double, result: TrialResult) {
        self.index = index
        self.order = order
        self.cpu = cpu
        self.startedSeconds = startedSeconds
        self.result = result
    }
}

/// A program of the host as it was run: its file, and of a dynamically linked one the libraries.
public struct HostProgramRecord: Codable, Sendable, Equatable {
    public var workload: String
    public var program: String
    /// The program first.
    public var files: [File]
    /// Why there are none.
    public var unavailable: String?

    public init(workload: String, program: String, files: [File], unavailable: String? = nil) {
        self.workload = workload
        self.program = program
        self.files = files
        self.unavailable = unavailable
    }

    public struct File: Codable, Sendable, Equatable {
        /// On the host.
        public var path: String
        public var bytes: UInt64
        /// Lower-case hexadecimal SHA-256 of its contents.
        public var sha256: String

        public init(path: String, bytes: UInt64, sha256: String) {
            self.path = path
            self.bytes = bytes
            self.sha256 = sha256
        }
    }
}
