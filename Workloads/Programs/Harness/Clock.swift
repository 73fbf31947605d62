import Support

/// Relates the TSC to the system's clock over the time from its creation; for the summary a person reads. Hosts use
/// the TSC frequency they know.
struct Clock {
    private let cycles: UInt64
    private let nanoseconds: Double

    init() {
        nanoseconds = Self.now()
        cycles = vb_tsc_begin()
    }

    func nanosecondsPerCycle() -> Double {
        let elapsed = vb_tsc_end() &- cycles
        return elapsed > 0 ? (Self.now() - nanoseconds) / Double(elapsed) : 0
    }

    private static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
    }
}
