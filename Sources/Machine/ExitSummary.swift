/// A stretch of a machine's life that a ledger tells apart.
public enum LedgerPhase: Hashable, Sendable {
    /// From reset to the program's first instruction.
    case boot
    /// The program, outside of its timed rounds.
    case program
    /// From the program's end to the machine's.
    case shutdown
    /// Rounds of the program's timed phase of this number, from 0.
    case timed(Int)

    static let lastUntimed = 2

    /// `boot`, `program` and `shutdown`, then timed phases.
    var index: Int {
        switch self {
        case .boot: 0
        case .program: 1
        case .shutdown: 2
        case .timed(let number): Self.lastUntimed + 1 + number
        }
    }

    init(index: Int) {
        self =
            switch index {
            case 0: .boot
            case 1: .program
            case 2: .shutdown
            default: .timed(index - Self.lastUntimed - 1)
            }
    }
}

/// Time that a machine spent in one phase. In cycles of the host's TSC.
public struct PhaseSummary: Sendable, Equatable {
    public var phase: LedgerPhase
    /// Times that it was entered: rounds, of a timed phase.
    public var entries: UInt64
    public var cycles: UInt64
    /// The part that was not in the VMM: guest code, and what the CPU and the host's kernel do between guest and VMM. Under KVM the
    /// time in KVM_RUN.
    public var guestCycles: UInt64

    public init(phase: LedgerPhase, entries: UInt64, cycles: UInt64, guestCycles: UInt64) {
        self.phase = phase
        self.entries = entries
        self.cycles = cycles
        self.guestCycles = guestCycles
    }
}

/// Who dealt with an exit.
public enum ExitHandler: String, Sendable, CaseIterable {
    /// The VMM, in user space.
    case vmm
    /// KVM, in the host's kernel.
    case kvm
    /// Translated code itself, through the VMM's trampolines: no exit, but the operation that would be one.
    case inline
}

/// How long exits took, in TSC cycles.
public struct ExitLatency: Sendable, Equatable {
    public var totalCycles: UInt64
    public var minimumCycles: UInt64
    public var maximumCycles: UInt64
    public var medianCycles: UInt64
    public var p99Cycles: UInt64

    public init(
        totalCycles: UInt64, minimumCycles: UInt64, maximumCycles: UInt64, medianCycles: UInt64, p99Cycles: UInt64
    ) {
        self.totalCycles = totalCycles
        self.minimumCycles = minimumCycles
        self.maximumCycles = maximumCycles
        self.medianCycles = medianCycles
        self.p99Cycles = p99Cycles
    }
}

/// One line of a finished ledger.
public struct ExitSummary: Sendable, Equatable {
    public var phase: LedgerPhase
    public var reason: ExitReason
    /// The technique's own name of it: `KVM_EXIT_IO`, `SIGSEGV`, `callout` …
    public var rawReason: String
    public var handler: ExitHandler
    public var count: UInt64
    /// Nil where exits were counted but not timed.
    public var latency: ExitLatency?
    /// Why there are no times.
    public var latencyUnavailable: String?
    /// What the way from guest to VMM and back takes beside that, of one exit, in cycles: calibrated at the machine's start; nil where it
    /// was not.
    public var transitionCycles: UInt64?

    public init(
        phase: LedgerPhase, reason: ExitReason, rawReason: String, handler: ExitHandler, count: UInt64,
        latency: ExitLatency?, latencyUnavailable: String? = nil
    ) {
        self.phase = phase
        self.reason = reason
        self.rawReason = rawReason
        self.handler = handler
        self.count = count
        self.latency = latency
        self.latencyUnavailable = latencyUnavailable
    }
}
