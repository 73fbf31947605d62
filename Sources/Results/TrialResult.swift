/// What one trial (one run of a cell) gave. Written by the child process that ran it, read by the lab, kept in reports.
public struct TrialResult: Codable, Sendable, Equatable {
    public var status: TrialStatus
    /// One measured round of the program after another, in order, warm-up included.
    public var samples: [Sample]
    /// Wall time from the program's first instruction to its exit, in nanoseconds; null with no start or no end.
    public var programNanoseconds: Double?
    /// Wall time from the child's start of the machine (or process) to its end, in nanoseconds.
    public var totalNanoseconds: Double
    /// Start of the machine to the program's first instruction, in nanoseconds (VMs only).
    public var bootNanoseconds: Double?
    /// The ledger; null with the reason in `exitsUnavailable` where the backend has none.
    public var exits: [ExitRecord]?
    public var exitsUnavailable: String?
    /// The phases that the ledger tells apart, and the time spent in each; null in reports of version 1 and without a ledger.
    public var phases: [PhaseRecord]?
    /// Where in the guest exits came from, most cycles first; null where the trial was no profile trial.
    public var exitSites: [ExitSiteRecord]?
    /// Exits that are missing in `exitSites`, whose number is bounded; null as that is.
    public var exitSitesDropped: UInt64?
    /// Further counters by name (`guest.systemCalls`, `host.minorFaults`, `translation.blocks`, …). Units in the
    /// name's suffix where not a count.
    public var counters: [String: Double]
    /// Counters that could not be taken, with the reason.
    public var countersUnavailable: [String: String]
    /// System calls the guest kernel lacks, by name, with the times each was called.
    public var unknownSystemCalls: [String: UInt64]
    /// What the VMM decided by itself while it ran, and why, in order (how ring 3 is run, for one); null where it decides nothing.
    public var decisions: [String]?
    /// What the program wrote to standard output and standard error: length, SHA-256 and the first 4 KiB.
    public var standardOutput: OutputDigest
    public var standardError: OutputDigest

    public init(status: TrialStatus) {
        self.status = status
        samples = []
        totalNanoseconds = 0
        counters = [:]
        countersUnavailable = [:]
        unknownSystemCalls = [:]
        standardOutput = OutputDigest()
        standardError = OutputDigest()
    }
}

/// How a trial ended.
public enum TrialStatus: Sendable, Equatable {
    /// The program ended by itself with this exit code.
    case exited(code: Int32)
    /// The program was ended by this signal number.
    case signaled(signal: Int32)
    /// The trial gave no result.
    case failed(TrialFailure)
}

/// Why a trial gave no result, and what is known of it.
public struct TrialFailure: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable, CaseIterable {
        /// The backend cannot run here.
        case unavailable
        /// The specification cannot be run (no such program, not a static ELF, too little memory …).
        case invalid
        case timeout
        /// The guest kernel panicked.
        case guestPanic
        /// Triple fault or shutdown of the vCPU.
        case tripleFault
        /// The VMM could not carry out an instruction.
        case emulationFailure
        /// The child process died or gave no result.
        case childDied
        /// The result was wrong: a check failed or output differs from the native one.
        case wrongResult
        case cancelled
        case internalError
    }

    public var kind: Kind
    /// One line: what happened, where, and what to do.
    public var message: String
    /// Registers, last exits, disassembly, backtrace: lines for a person.
    public var diagnosis: [String]

    public init(kind: Kind, message: String, diagnosis: [String] = []) {
        self.kind = kind
        self.message = message
        self.diagnosis = diagnosis
    }
}

/// One measured round.
public struct Sample: Codable, Sendable, Equatable {
    /// Which timed loop of the program; most programs have one, named `main`.
    public var phase: String
    public var nanoseconds: Double
    /// Operations done in that time.
    public var operations: UInt64

    /// Time of one operation; the whole round where no operations were counted.
    public var nanosecondsPerOperation: Double { nanoseconds / Double(max(1, operations)) }

    public init(phase: String, nanoseconds: Double, operations: UInt64) {
        self.phase = phase
        self.nanoseconds = nanoseconds
        self.operations = operations
    }
}

/// What is kept of an output stream.
public struct OutputDigest: Codable, Sendable, Equatable {
    public var bytes: UInt64 = 0
    /// Lower-case hexadecimal SHA-256 of everything written.
    public var sha256: String = ""
    /// The first 4 KiB, invalid UTF-8 replaced.
    public var head: String = ""

    public init() {}
}
