import Host
import Machine

/// What a trace of KVM's exits says of one run.
public struct KernelExitProfile: Sendable {
    /// Exits of one phase, reason and raw reason.
    public struct Line: Sendable, Equatable {
        /// Index that the machine gave to the phase.
        public var phase: UInt16
        public var reason: ExitReason
        /// The technique's own name.
        public var rawReason: String
        public var count: UInt64
        /// Those of which the trace shows the end; the others are broken by lost events.
        public var timedCount: UInt64
        /// Of the timed ones, in TSC cycles, as are the following.
        public var totalCycles: UInt64
        public var minimumCycles: UInt64
        public var medianCycles: UInt64
        public var p99Cycles: UInt64
        public var maximumCycles: UInt64
    }

    /// Exits of one line at one guest address.
    public struct Site: Sendable, Equatable {
        /// Index into `lines`.
        public var line: Int
        /// Guest RIP.
        public var address: UInt64
        public var count: UInt64
        public var totalCycles: UInt64
    }

    public var lines: [Line]
    public var sites: [Site]
    /// Counters by name, for the report.
    public var counters: [String: Double]
    /// Hits of each tracepoint, which the kernel counts apart from what it records.
    public var hits: [String: UInt64]
    /// Events that the buffer had no room for.
    public var lostEvents: UInt64

    init(
        ledger: KernelExitLedger, counts: [String: UInt64], pairing: ExitPairing, lostPhases: Int,
        returnLimitNanoseconds: UInt64?
    ) {
        func cycles(_ nanoseconds: UInt64) -> UInt64 {
            UInt64((Double(nanoseconds) * Double(TimestampCounter.hertz) / 1e9).rounded())
        }
        lines = ledger.lines.map { line in
            Line(
                phase: line.phase, reason: line.cause.reason, rawReason: line.cause.name, count: line.count,
                timedCount: line.timed, totalCycles: cycles(line.total), minimumCycles: cycles(line.histogram.min),
                medianCycles: cycles(line.histogram.valueAtPercentile(50)),
                p99Cycles: cycles(line.histogram.valueAtPercentile(99)), maximumCycles: cycles(line.histogram.max))
        }
        sites = ledger.sites.map { site, value in
            Site(line: site.line, address: site.rip, count: value.count, totalCycles: cycles(value.nanoseconds))
        }
        hits = counts
        lostEvents = pairing.lostEvents
        counters = [
            "kvm.trace.lostEvents": Double(lostEvents), "kvm.trace.lostPhases": Double(lostPhases),
            "kvm.trace.withoutCPUNanoseconds": Double(pairing.withoutCPU),
            "kvm.trace.recordingNanoseconds": ledger.cost.recordingNanoseconds,
            "kvm.trace.switchNanoseconds": ledger.cost.switchNanoseconds,
        ]
        if let returnLimitNanoseconds {
            counters["kvm.trace.returnLimitNanoseconds"] = Double(returnLimitNanoseconds)
        }
        for (name, count) in counts {
            counters["kvm.trace.hits.\(name.split(separator: ":").last ?? "")"] = Double(count)
        }
    }
}
