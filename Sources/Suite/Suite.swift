/// A benchmark suite: what to run, on which backends, how often.
///
/// The value of a validated SUITE.json, with every default filled in and every unit resolved (bytes, seconds).
/// `Suite.load` is the way in; encoding one gives the resolved copy that reports carry.
public struct Suite: Codable, Sendable, Equatable {
    /// Short name of the suite, for output folders and reports.
    public var name: String
    /// What the suite is for, in a sentence; may be empty.
    public var description: String
    /// The publication that the suite reproduces, a name of `Vocabulary.publications`; nil for none. Its runs get a text that sets the
    /// published figures beside theirs.
    public var reproduces: String?
    /// Seeds the order of trials, generated files and the guests' random numbers.
    public var seed: UInt64
    /// How the first rounds of each trial are treated.
    public var warmup: WarmupPolicy
    /// Whether each guest cell gets one trial more, after the timed ones, that notes where in the guest exits come from.
    public var profile: Bool
    /// Backends to run on, in the order of report columns.
    public var backends: [String]
    /// In suite order; names are unique, aggressors included.
    public var workloads: [Workload]
    /// Workloads without cells of their own: they only run beside the victims of co-locations.
    public var aggressors: [Workload]
    /// Two-VM trials; names are unique.
    public var colocation: [Colocation]

    public init(
        name: String, description: String = "", seed: UInt64 = 1, warmup: WarmupPolicy = .detect, profile: Bool = false,
        backends: [String] = Vocabulary.defaultBackends, workloads: [Workload], aggressors: [Workload] = [],
        colocation: [Colocation] = []
    ) {
        self.name = name
        self.description = description
        self.seed = seed
        self.warmup = warmup
        self.profile = profile
        self.backends = backends
        self.workloads = workloads
        self.aggressors = aggressors
        self.colocation = colocation
    }

    /// The workload or aggressor of that name, which a validated suite's references always find.
    public func workload(named name: String) -> Workload? {
        (workloads + aggressors).first { $0.name == name }
    }
}

/// How the first rounds of each trial are treated when times are estimated. Samples are kept in the report whatever
/// it is.
public enum WarmupPolicy: Sendable, Equatable {
    /// Found per trial from the samples.
    case detect
    /// Every round counts.
    case none
    /// This many rounds at the start of each trial do not count.
    case discard(rounds: Int)
}

/// Which host CPU a trial runs on.
public enum CPUPolicy: Sendable, Equatable {
    /// Pinned to a CPU that the lab chooses, the same for all trials.
    case auto
    /// Not pinned.
    case float
    /// Pinned to this CPU number.
    case pinned(Int)
}

/// One program with its input, and what is expected of it.
public struct Workload: Codable, Sendable, Equatable {
    public var name: String
    public var description: String
    public var program: Program
    /// Arguments after the program's own path.
    public var arguments: [String]
    /// The whole environment of the program.
    public var environment: [String: String]
    /// Absolute path in the guest's tree.
    public var workingDirectory: String
    /// Files put into the guest's tree besides the program.
    public var files: [InputFile]
    /// Standard input; nil reads end-of-file.
    public var standardInput: FileContent?
    public var expected: Expectation
    /// Trials of each cell.
    public var trials: Int
    /// RAM of the VM in bytes, a multiple of 4096.
    public var memoryBytes: UInt64
    /// A trial that runs longer is ended as a timeout.
    public var timeLimitSeconds: Double
    public var cpu: CPUPolicy
    /// The suite's backends that this workload runs on, in suite order.
    public var backends: [String]
    /// As written; `variants(on:)` gives those of a backend.
    public var variants: [Variant]

    public init(name: String, program: Program, arguments: [String] = []) {
        self.name = name
        description = ""
        self.program = program
        self.arguments = arguments
        environment = [:]
        workingDirectory = "/"
        files = []
        expected = Expectation()
        trials = Limits.defaultTrials
        memoryBytes = Limits.defaultMemoryBytes
        timeLimitSeconds = Limits.defaultTimeLimitSeconds
        cpu = .auto
        backends = Vocabulary.defaultBackends
        variants = []
    }

    /// The variants that this backend runs; one plain variant named `default` where none is written for it.
    public func variants(on backend: String) -> [Variant] {
        let written = variants.filter { $0.backends.isEmpty || $0.backends.contains(backend) }
        return written.isEmpty ? [Variant(name: Variant.defaultName)] : written
    }
}

/// The program of a workload: a Linux x86-64 ELF.
public enum Program: Sendable, Equatable {
    /// One that comes with vbench, by name.
    case builtIn(String)
    /// A file of the host. Absolute after loading.
    case host(path: String)
}

/// What a trial must show to count as passed.
public struct Expectation: Codable, Sendable, Equatable {
    /// 0 to 255.
    public var exitCode: Int
    /// Standard output must have the digest that the native run of the same workload had.
    public var outputMatchesNative: Bool
    /// Lower-case hexadecimal SHA-256 that standard output must have.
    public var sha256: String?

    public init(exitCode: Int = 0, outputMatchesNative: Bool = false, sha256: String? = nil) {
        self.exitCode = exitCode
        self.outputMatchesNative = outputMatchesNative
        self.sha256 = sha256
    }
}

/// A file in the guest's tree.
public struct InputFile: Codable, Sendable, Equatable {
    public var content: FileContent
    /// Absolute path in the guest.
    public var guestPath: String
    public var executable: Bool

    public init(content: FileContent, guestPath: String, executable: Bool = false) {
        self.content = content
        self.guestPath = guestPath
        self.executable = executable
    }
}

/// Where the bytes of a file come from.
public enum FileContent: Sendable, Equatable {
    /// A file of the host. Absolute after loading.
    case host(path: String)
    case text(String)
    case generated(GeneratedFile)
}

/// Backend options under a name: each variant is a cell of its own.
public struct Variant: Codable, Sendable, Equatable {
    /// Name of the variant of a cell that has no written ones.
    public static let defaultName = "default"

    public var name: String
    /// Backends it applies to; empty means all.
    public var backends: [String]
    /// Passed to the backend, which validates them.
    public var options: [String: String]

    public init(name: String, backends: [String] = [], options: [String: String] = [:]) {
        self.name = name
        self.backends = backends
        self.options = options
    }
}

/// A victim and an aggressor VM of the same backend, side by side. The victim alone is the baseline.
public struct Colocation: Codable, Sendable, Equatable {
    public enum Placement: String, Codable, Sendable, CaseIterable {
        case sameCPU = "same-cpu"
        case differentCPU = "different-cpu"
    }

    public var name: String
    public var description: String
    /// Workload whose time is measured.
    public var victim: String
    /// Workload or aggressor that runs beside it, started again for as long as the victim runs.
    public var aggressor: String
    public var backends: [String]
    public var placements: [Placement]
    /// Trials of each placement, and of the victim alone.
    public var trials: Int

    public init(name: String, victim: String, aggressor: String) {
        self.name = name
        description = ""
        self.victim = victim
        self.aggressor = aggressor
        backends = Vocabulary.defaultBackends
        placements = Placement.allCases
        trials = Limits.defaultTrials
    }
}
