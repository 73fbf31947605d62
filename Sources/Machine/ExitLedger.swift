import Histogram

/// Counts and times every exit of one VM.
///
/// `record` runs between guest exit and guest entry: it touches only memory allocated at `init`, neither allocates nor
/// retains. Latencies go into log-linear buckets (32 per power of two: at most 3.2 % wide), which
/// `summaries()` pours into HdrHistograms when the run is over.
///
/// Owned by one thread; not safe to share.
public final class ExitLedger {
    private static let subBucketBits: UInt64 = 5
    private static let subBuckets = 1 << 5
    private static let bucketsPerReason = 60 * 32

    private struct Entry {
        var count: UInt64 = 0
        var total: UInt64 = 0
        var minimum: UInt64 = .max
        var maximum: UInt64 = 0
    }

    // Invariant: both are allocated for every `ExitReason` case at init and freed only in deinit; indices are the
    // enum's raw values and bucket numbers below `bucketsPerReason`.
    private let entries: UnsafeMutablePointer<Entry>
    private let buckets: UnsafeMutablePointer<UInt32>
    private let reasonCount = ExitReason.allCases.count

    public init() {
        entries = .allocate(capacity: reasonCount)
        entries.initialize(repeating: Entry(), count: reasonCount)
        buckets = .allocate(capacity: reasonCount * Self.bucketsPerReason)
        buckets.initialize(repeating: 0, count: reasonCount * Self.bucketsPerReason)
    }

    deinit {
        entries.deallocate()
        buckets.deallocate()
    }

    /// Counts one exit that kept the guest from running for `cycles`.
    @inline(__always)
    public func record(_ reason: ExitReason, cycles: UInt64) {
        let index = Int(reason.rawValue)
        let entry = entries + index
        entry.pointee.count &+= 1
        entry.pointee.total &+= cycles
        if cycles < entry.pointee.minimum { entry.pointee.minimum = cycles }
        if cycles > entry.pointee.maximum { entry.pointee.maximum = cycles }
        buckets[index &* Self.bucketsPerReason &+ Self.bucket(of: cycles)] &+= 1
    }

    /// Exits of all reasons recorded so far.
    public var totalCount: UInt64 {
        (0..<reasonCount).reduce(0) { $0 &+ entries[$1].count }
    }

    public func count(of reason: ExitReason) -> UInt64 { entries[Int(reason.rawValue)].count }

    @inline(__always)
    private static func bucket(of value: UInt64) -> Int {
        if value < UInt64(subBuckets) { return Int(truncatingIfNeeded: value) }
        let magnitude = 63 &- value.leadingZeroBitCount
        let shift = magnitude &- Int(subBucketBits)
        return (shift &+ 1) &* subBuckets &+ Int(truncatingIfNeeded: value >> UInt64(shift)) &- subBuckets
    }

    /// Middle of the values that fall into `bucket`.
    private static func value(ofBucket bucket: Int) -> UInt64 {
        if bucket < subBuckets { return UInt64(bucket) }
        let shift = UInt64(bucket / subBuckets - 1)
        let mantissa = UInt64(bucket % subBuckets + subBuckets)
        return (mantissa << shift) + ((1 << shift) >> 1)
    }

    /// One line of the ledger for each reason that occurred, most expensive in total first. Values in cycles.
    public func summaries() -> [ExitSummary] {
        ExitReason.allCases.compactMap { reason -> ExitSummary? in
            let entry = entries[Int(reason.rawValue)]
            guard entry.count > 0 else { return nil }
            var histogram = Histogram<UInt64>(
                highestTrackableValue: max(2, entry.maximum), numberOfSignificantValueDigits: .two)
            let base = Int(reason.rawValue) * Self.bucketsPerReason
            for bucket in 0..<Self.bucketsPerReason where buckets[base + bucket] > 0 {
                histogram.record(
                    min(Self.value(ofBucket: bucket), max(2, entry.maximum)), count: UInt64(buckets[base + bucket]))
            }
            return ExitSummary(
                reason: reason, count: entry.count, totalCycles: entry.total, minimumCycles: entry.minimum,
                maximumCycles: entry.maximum, medianCycles: histogram.valueAtPercentile(50),
                p99Cycles: histogram.valueAtPercentile(99))
        }
        .sorted { ($0.totalCycles, $0.count) > ($1.totalCycles, $1.count) }
    }
}

/// One reason's line of a finished ledger.
public struct ExitSummary: Sendable, Equatable {
    public var reason: ExitReason
    public var count: UInt64
    public var totalCycles: UInt64
    public var minimumCycles: UInt64
    public var maximumCycles: UInt64
    public var medianCycles: UInt64
    public var p99Cycles: UInt64

    public init(
        reason: ExitReason, count: UInt64, totalCycles: UInt64, minimumCycles: UInt64, maximumCycles: UInt64,
        medianCycles: UInt64, p99Cycles: UInt64
    ) {
        self.reason = reason
        self.count = count
        self.totalCycles = totalCycles
        self.minimumCycles = minimumCycles
        self.maximumCycles = maximumCycles
        self.medianCycles = medianCycles
        self.p99Cycles = p99Cycles
    }
}
