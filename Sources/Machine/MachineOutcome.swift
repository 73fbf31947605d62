/// Why a machine stopped.
public enum MachineEnd: Equatable, Sendable {
    /// The guest wrote to the debug-exit port (`DebugExitCode`).
    case debugExit(code: UInt32)
    /// A fault while delivering a double fault, or another shutdown of the vCPU.
    case tripleFault
    /// The guest reset its machine: keyboard controller, port 0x92 or port 0xCF9.
    case reset
    /// HLT that no interrupt can end.
    case halted
    /// The time limit passed.
    case timeout
    /// `cancel()` was called.
    case cancelled
    /// The VMM or KVM could not carry out an instruction; says which and why.
    case emulationFailure(String)
    /// An access to guest-physical space where there is neither RAM nor a device.
    case guestMemoryFault(String)
    /// The host failed the VMM.
    case hostFailure(String)
}

/// A finished machine: how it ended, and everything counted on the way.
public struct MachineOutcome: Sendable {
    public var end: MachineEnd
    /// For a person: registers, last exits, disassembly, backtrace. Empty after an orderly end.
    public var diagnosis: [String] = []
    /// The exit ledger's lines, in TSC cycles.
    public var exits: [ExitSummary] = []
    /// Why there is no ledger; nil where there is one.
    public var ledgerUnavailable: String?
    /// Time by phase of the ledger.
    public var phases: [PhaseSummary] = []
    /// Where in the guest exits came from; nil where the machine was not asked.
    public var sites: [ExitSite]?
    /// Exits that are missing in `sites`.
    public var droppedSites: UInt64 = 0
    /// Further counters by name; units in the name's suffix where it is not a count.
    public var counters: [String: Double] = [:]
    /// Counters that could not be taken, with the reason.
    public var countersUnavailable: [String: String] = [:]
    /// What the VMM decided by itself, and why, in order; nil where it decides nothing.
    public var decisions: [String]?
    /// TSC at the first entry into the guest and when the guest had stopped, on the guest's own time base (both VMMs give the
    /// guest the host's TSC, so this is the host's as well unless a VMM has to say otherwise in its documentation).
    public var startTSC: UInt64
    public var endTSC: UInt64
    public var tscHertz: UInt64

    public init(end: MachineEnd, startTSC: UInt64, endTSC: UInt64, tscHertz: UInt64) {
        self.end = end
        self.startTSC = startTSC
        self.endTSC = endTSC
        self.tscHertz = tscHertz
    }
}
