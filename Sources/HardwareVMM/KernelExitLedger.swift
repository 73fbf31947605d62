import Histogram
import Machine

/// Counts and times the exits that a trace shows, by phase and cause.
///
/// Belongs to the thread that reads the trace.
struct KernelExitLedger {
    /// One phase's exits of one cause.
    struct Line {
        var cause: KernelExitCause
        var phase: LedgerPhase
        var count: UInt64 = 0
        /// Those whose end is known.
        var timed: UInt64 = 0
        /// Of the timed ones, in nanoseconds.
        var total: UInt64 = 0
        var histogram = Histogram<UInt32>(numberOfSignificantValueDigits: .two)
        /// Whether times include what guest ring 3 ran.
        var includesUserMode = false
    }

    /// Where in the guest exits of one cause happened.
    struct Site: Hashable {
        var line: Int
        var rip: UInt64
    }

    private struct Key: Hashable {
        var phase: LedgerPhase
        var cause: KernelExitCause
    }

    let cost: TracingCost
    private var index: [Key: Int] = [:]
    private(set) var lines: [Line] = []
    private(set) var sites: [Site: (count: UInt64, nanoseconds: UInt64)] = [:]
    /// A hostile guest may exit at as many addresses as it likes.
    private static let maximumSites = 1 << 16
    private(set) var exitsWithoutSite: UInt64 = 0

    init(cost: TracingCost) { self.cost = cost }

    mutating func add(_ exit: KernelExit, phase: LedgerPhase) {
        let line = lineIndex(Key(phase: phase, cause: exit.cause))
        lines[line].count += 1
        var charged: UInt64 = 0
        if let nanoseconds = exit.nanoseconds {
            let cost =
                Double(nanoseconds) - Double(exit.recordings) * cost.recordingNanoseconds
                + cost.switchNanoseconds
            charged = UInt64(max(0, cost.rounded()))
            lines[line].timed += 1
            lines[line].total += charged
            lines[line].histogram.record(charged)
            if exit.includesUserMode { lines[line].includesUserMode = true }
        }
        guard let rip = exit.rip else { return }
        let site = Site(line: line, rip: rip)
        if sites.count < Self.maximumSites || sites[site] != nil {
            Self.add(charged, to: &sites[site, default: (0, 0)])
        } else {
            exitsWithoutSite += 1
        }
    }

    private static func add(_ nanoseconds: UInt64, to site: inout (count: UInt64, nanoseconds: UInt64)) {
        site.count += 1
        site.nanoseconds += nanoseconds
    }

    private mutating func lineIndex(_ key: Key) -> Int {
        if let known = index[key] { return known }
        index[key] = lines.count
        lines.append(Line(cause: key.cause, phase: key.phase))
        return lines.count - 1
    }

    /// Takes what guest ring 3 ran out of the times that include it.
    ///
    /// No event tells when ring 3 begins. Every program returns to it for a few instructions only now and then, at its start if
    /// nowhere else, so the shortest tenth of all these times is taken for the return itself: one is charged at most twice that.
    /// - Returns: that limit in nanoseconds; nil where no time includes ring 3.
    mutating func limitReturns() -> UInt64? {
        var all = Histogram<UInt64>(numberOfSignificantValueDigits: .two)
        for line in lines where line.includesUserMode {
            for bucket in line.histogram.recordedValues() { all.record(bucket.value, count: UInt64(bucket.count)) }
        }
        guard all.totalCount > 0 else { return nil }
        let limit = 2 * all.valueAtPercentile(10)
        for index in lines.indices where lines[index].includesUserMode {
            var limited = Histogram<UInt32>(numberOfSignificantValueDigits: .two)
            var total: UInt64 = 0
            for bucket in lines[index].histogram.recordedValues() {
                let charged = min(bucket.value, limit)
                limited.record(charged, count: bucket.count)
                total += charged * UInt64(bucket.count)
            }
            lines[index].histogram = limited
            lines[index].total = total
        }
        return limit
    }
}
