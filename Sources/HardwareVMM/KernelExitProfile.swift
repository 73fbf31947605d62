import Host
import Machine

/// What a trace of KVM's exits says of one run.
public struct KernelExitProfile: Sendable {
    /// Lines of the ledger, handled by KVM. Where lost events hide the ends of some exits, totals are those of the others, scaled to all.
    public var exits: [ExitSummary]
    public var sites: [ExitSite]
    /// Exits that are missing in `sites`.
    public var droppedSites: UInt64
    /// Counters by name, for the report.
    public var counters: [String: Double]
    /// Hits of each tracepoint, which the kernel counts apart from what it records.
    public var hits: [String: UInt64]
    /// Events that the buffer had no room for.
    public var lostEvents: UInt64

    init(
        ledger: KernelExitLedger, technique: KVMTracepoints.Technique, counts: [String: UInt64], pairing: ExitPairing,
        lostPhases: Int,
        returnLimitNanoseconds: UInt64?
    ) {
        func cycles(_ nanoseconds: UInt64) -> UInt64 {
            UInt64((Double(nanoseconds) * Double(TimestampCounter.hertz) / 1e9).rounded())
        }
        exits = ledger.lines.map { line in
            let latency =
                line.timed == 0
                ? nil
                : ExitLatency(
                    totalCycles: cycles(UInt64(Double(line.total) * Double(line.count) / Double(line.timed))),
                    minimumCycles: cycles(line.histogram.min), maximumCycles: cycles(line.histogram.max),
                    medianCycles: cycles(line.histogram.valueAtPercentile(50)),
                    p99Cycles: cycles(line.histogram.valueAtPercentile(99)))
            return ExitSummary(
                phase: line.phase, reason: line.cause.reason, rawReason: line.cause.name, handler: .kvm,
                count: line.count, latency: latency,
                latencyUnavailable: latency == nil ? "the trace lacks the ends of these exits" : nil)
        }
        .sorted { ($0.latency?.totalCycles ?? 0, $0.count) > ($1.latency?.totalCycles ?? 0, $1.count) }
        sites = ledger.sites.map { site, value in
            let line = ledger.lines[site.line]
            // kvm_exit does not tell the ring; Nub has the upper half of the address space for ring 0.
            let ring: UInt8 = technique == .emulation || site.rip >> 63 != 0 ? 0 : 3
            return ExitSite(
                phase: line.phase, reason: line.cause.reason, rip: site.rip, ring: ring, count: value.count,
                cycles: cycles(value.nanoseconds))
        }
        droppedSites = ledger.exitsWithoutSite
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
