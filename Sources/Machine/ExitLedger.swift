import Glibc
import Histogram
import Host

/// Counts and times every exit of one VM, by phase of its life, reason, and the technique's own reason.
///
/// `record` runs between guest exit and guest entry: it touches only memory allocated at `init`, neither allocates nor
/// retains. Latencies go into log-linear buckets (32 per power of two: at most 3.2 % wide), which
/// `summaries()` pours into HdrHistograms when the run is over.
///
/// Marks of the guest change the phase (`mark`). The exit that a mark comes by is never charged to a timed phase:
///
///     program │ mark: begin ├── timed ──┤ mark: end │ program
///             └ charged to  ┘           └ charged to┘
///               program                   program
///
/// Owned by one thread; not safe to share.
public final class ExitLedger {
    private static let subBucketBits: UInt64 = 5
    private static let subBuckets = 1 << 5
    /// Values of 2^41 cycles and more (a quarter of an hour) share the last bucket.
    private static let bucketsPerLine = 37 * 32
    /// Different lines that a ledger can have; exits of further ones share line 0.
    private static let lineLimit = 1024
    /// Timed phases that are told apart; marks of further ones leave the phase `program`.
    public static let timedPhaseLimit = 61
    private static let phaseLimit = 3 + timedPhaseLimit
    /// Changes of phase that are kept with their times.
    private static let changeLimit = 1 << 16
    private static let reasonCount = ExitReason.allCases.count

    private struct Line {
        var count: UInt64 = 0
        var total: UInt64 = 0
        var minimum: UInt64 = .max
        var maximum: UInt64 = 0
        /// Index into `slots`.
        var key = 0
    }

    private struct PhaseTotals {
        var entries: UInt64 = 0
        var cycles: UInt64 = 0
        var guestCycles: UInt64 = 0
    }

    /// One change of phase.
    public struct PhaseChange: Sendable, Equatable {
        /// Host TSC.
        public var tsc: UInt64
        public var phase: LedgerPhase
    }

    // Invariant: all are allocated at init with the capacities above and freed only in deinit. `slots` has one number for each
    // phase, raw reason and reason, in this order: 0, or the line's number plus 1, which is at most `lineLimit`.
    private let slots: UnsafeMutablePointer<UInt16>
    private let live: LiveLedger
    /// In `live`'s memory.
    private let lines: UnsafeMutablePointer<Line>
    private let buckets: UnsafeMutablePointer<UInt32>
    private let phases: UnsafeMutablePointer<PhaseTotals>
    private let changes: UnsafeMutablePointer<(tsc: UInt64, phase: Int)>
    /// One number for each phase and reason.
    private let inlineCounts: UnsafeMutablePointer<UInt64>
    private var usedLines = 1
    private var usedChanges = 0
    private let rawReasons: [String]
    private let slotsPerPhase: Int

    /// What runs now, what it will be after the exit being handled, and what that exit is charged to. As offsets into `slots`.
    private var current = 0
    private var next = 0
    private var charged = 0
    /// `current` as a number, so that no exit divides.
    private var currentPhase = 0
    private var phaseBegin: UInt64 = 0

    /// Changes of phase that are not in `phaseChanges`, for want of space.
    public private(set) var droppedChanges: UInt64 = 0
    /// Marks of timed phases beyond `timedPhaseLimit`.
    public private(set) var droppedMarks: UInt64 = 0

    /// - Parameter rawReasons: the technique's own reasons; `record` takes indices into it.
    public init(rawReasons: [String] = [""]) {
        self.rawReasons = rawReasons
        slotsPerPhase = rawReasons.count * Self.reasonCount
        slots = Self.zeroed(slotsPerPhase * Self.phaseLimit)
        live = LiveLedger(
            lineBytes: Self.lineLimit * MemoryLayout<Line>.stride, reasons: ExitReason.allCases.map(\.name))
        lines = live.lines.bindMemory(to: Line.self, capacity: Self.lineLimit)
        lines.initialize(repeating: Line(), count: Self.lineLimit)
        live.header.pointee.reasonCount = UInt32(Self.reasonCount)
        live.header.pointee.lineBytes = UInt32(MemoryLayout<Line>.stride)
        live.header.pointee.countOffset = UInt32(MemoryLayout<Line>.offset(of: \.count)!)
        live.header.pointee.cyclesOffset = UInt32(MemoryLayout<Line>.offset(of: \.total)!)
        live.header.pointee.keyOffset = UInt32(MemoryLayout<Line>.offset(of: \.key)!)
        live.header.pointee.lineCount = 1
        buckets = Self.zeroed(Self.lineLimit * Self.bucketsPerLine)
        phases = .allocate(capacity: Self.phaseLimit)
        phases.initialize(repeating: PhaseTotals(), count: Self.phaseLimit)
        changes = Self.zeroed(Self.changeLimit)
        inlineCounts = Self.zeroed(Self.phaseLimit * Self.reasonCount)
    }

    deinit {
        free(slots)
        free(buckets)
        free(changes)
        free(inlineCounts)
        phases.deallocate()
    }

    /// Zeros that take no memory before they are written to.
    private static func zeroed<T>(_ count: Int) -> UnsafeMutablePointer<T> {
        calloc(max(1, count), MemoryLayout<T>.stride)!.bindMemory(to: T.self, capacity: max(1, count))
    }

    /// Counts one exit that kept the guest from running for `cycles`.
    ///
    /// - Parameter raw: index into the raw reasons given at init.
    @inline(__always)
    public func record(_ reason: ExitReason, raw: Int = 0, cycles: UInt64) {
        let key = charged &+ raw &* Self.reasonCount &+ Int(reason.rawValue)
        var number = Int(slots[key])
        if number == 0 { number = addLine(key) }
        let line = lines + (number &- 1)
        line.pointee.count &+= 1
        line.pointee.total &+= cycles
        if cycles < line.pointee.minimum { line.pointee.minimum = cycles }
        if cycles > line.pointee.maximum { line.pointee.maximum = cycles }
        buckets[(number &- 1) &* Self.bucketsPerLine &+ Self.bucket(of: cycles)] &+= 1
    }

    /// Whether a phase was marked during the exit being handled.
    @inline(__always)
    public var isChanging: Bool { next != current }

    /// Counts operations that translated code carried out itself, in the phase before a mark that is being handled.
    public func countInline(_ reason: ExitReason, _ count: UInt64) {
        inlineCounts[currentPhase * Self.reasonCount + Int(reason.rawValue)] &+= count
    }

    @inline(never)
    private func addLine(_ key: Int) -> Int {
        guard usedLines < Self.lineLimit else { return 1 }
        usedLines += 1
        slots[key] = UInt16(usedLines)
        lines[usedLines - 1].key = key
        live.header.pointee.lineCount = UInt64(usedLines)
        return usedLines
    }

    // MARK: Phases

    /// The phase begins when the exit being handled is over.
    public func mark(_ phase: LedgerPhase) {
        if case .timed(let number) = phase, !(0..<Self.timedPhaseLimit).contains(number) {
            droppedMarks &+= 1
            return
        }
        next = phase.index * slotsPerPhase
        charged = currentPhase > LedgerPhase.lastUntimed ? next : current
    }

    /// Makes the machine visible to `vbench top`.
    public func publish(backend: String, _ configuration: MachineConfiguration) {
        live.publish(
            backend: backend, title: configuration.title, memoryBytes: configuration.memoryBytes,
            startTSC: TimestampCounter.now())
    }

    /// Machine and phase `boot` begin.
    public func begin(at tsc: UInt64) {
        phaseBegin = tsc
        phases[0].entries = 1
        note(tsc, 0)
    }

    /// The guest has run for `guestCycles` up to the exit at `exit`.
    @inline(__always)
    public func left(guestCycles: UInt64) { phases[currentPhase].guestCycles &+= guestCycles }

    /// The guest is about to be entered at `entry` after an exit at `exit`, which has been recorded: a phase that was marked
    /// meanwhile begins. What is charged to the new phase begins it.
    @inline(__always)
    public func settle(exit: UInt64, entry: UInt64) {
        if next != current { change(at: charged == next ? exit : entry) }
    }

    @inline(never)
    private func change(at tsc: UInt64) {
        phases[currentPhase].cycles &+= tsc &- phaseBegin
        phaseBegin = tsc
        current = next
        charged = next
        currentPhase = current / slotsPerPhase
        phases[currentPhase].entries &+= 1
        note(tsc, currentPhase)
    }

    private func note(_ tsc: UInt64, _ phase: Int) {
        guard usedChanges < Self.changeLimit else {
            droppedChanges &+= 1
            return
        }
        changes[usedChanges] = (tsc, phase)
        usedChanges += 1
    }

    /// The machine has stopped.
    public func end(at tsc: UInt64) {
        next = current
        phases[currentPhase].cycles &+= tsc &- phaseBegin
        phaseBegin = tsc
    }

    /// The phase that exits are charged to now.
    public var phase: LedgerPhase { LedgerPhase(index: charged / slotsPerPhase) }

    /// The first changes of phase in order, `boot` at the beginning.
    public var phaseChanges: [PhaseChange] {
        (0..<usedChanges).map { PhaseChange(tsc: changes[$0].tsc, phase: LedgerPhase(index: changes[$0].phase)) }
    }

    /// Phases that there were, in the order of `LedgerPhase.index`.
    public var phaseSummaries: [PhaseSummary] {
        (0..<Self.phaseLimit).filter { phases[$0].entries > 0 }.map {
            PhaseSummary(
                phase: LedgerPhase(index: $0), entries: phases[$0].entries, cycles: phases[$0].cycles,
                guestCycles: phases[$0].guestCycles)
        }
    }

    // MARK: Reading

    /// Exits of all reasons recorded so far.
    public var totalCount: UInt64 { (0..<usedLines).reduce(0) { $0 &+ lines[$1].count } }

    public func count(of reason: ExitReason) -> UInt64 {
        (0..<usedLines).reduce(0) {
            $1 > 0 && lines[$1].key % Self.reasonCount == Int(reason.rawValue) ? $0 &+ lines[$1].count : $0
        }
    }

    @inline(__always)
    private static func bucket(of value: UInt64) -> Int {
        if value < UInt64(subBuckets) { return Int(truncatingIfNeeded: value) }
        let magnitude = 63 &- value.leadingZeroBitCount
        let shift = magnitude &- Int(subBucketBits)
        let bucket = (shift &+ 1) &* subBuckets &+ Int(truncatingIfNeeded: value >> UInt64(shift)) &- subBuckets
        return min(bucket, bucketsPerLine &- 1)
    }

    /// Middle of the values that fall into `bucket`.
    private static func value(ofBucket bucket: Int) -> UInt64 {
        if bucket < subBuckets { return UInt64(bucket) }
        let shift = UInt64(bucket / subBuckets - 1)
        let mantissa = UInt64(bucket % subBuckets + subBuckets)
        return (mantissa << shift) + ((1 << shift) >> 1)
    }

    /// The ledger's lines, most expensive in total first. Values in cycles.
    public func summaries() -> [ExitSummary] {
        timedSummaries().sorted {
            ($0.latency?.totalCycles ?? 0, $0.count) > ($1.latency?.totalCycles ?? 0, $1.count)
        } + inlineSummaries()
    }

    private func inlineSummaries() -> [ExitSummary] {
        (0..<Self.phaseLimit * Self.reasonCount).filter { inlineCounts[$0] > 0 }.map {
            ExitSummary(
                phase: LedgerPhase(index: $0 / Self.reasonCount), reason: ExitReason.allCases[$0 % Self.reasonCount],
                rawReason: "trampoline", handler: .inline, count: inlineCounts[$0], latency: nil,
                latencyUnavailable: "carried out by translated code, counted and not timed")
        }
    }

    private func timedSummaries() -> [ExitSummary] {
        (0..<usedLines).compactMap { number -> ExitSummary? in
            let line = lines[number]
            guard line.count > 0 else { return nil }
            var summary = ExitSummary(
                phase: LedgerPhase(index: line.key / slotsPerPhase),
                reason: ExitReason.allCases[line.key % Self.reasonCount],
                rawReason: rawReasons[line.key % slotsPerPhase / Self.reasonCount], handler: .vmm, count: line.count,
                latency: latency(number))
            if number == 0 { (summary.reason, summary.rawReason) = (.other, "more than \(Self.lineLimit) lines") }
            return summary
        }
    }

    private func latency(_ number: Int) -> ExitLatency {
        let line = lines[number]
        let highest = max(2, line.maximum)
        var histogram = Histogram<UInt64>(highestTrackableValue: highest, numberOfSignificantValueDigits: .two)
        let base = number * Self.bucketsPerLine
        for bucket in 0..<Self.bucketsPerLine where buckets[base + bucket] > 0 {
            histogram.record(min(Self.value(ofBucket: bucket), highest), count: UInt64(buckets[base + bucket]))
        }
        return ExitLatency(
            totalCycles: line.total, minimumCycles: line.minimum, maximumCycles: line.maximum,
            medianCycles: histogram.valueAtPercentile(50), p99Cycles: histogram.valueAtPercentile(99))
    }
}
