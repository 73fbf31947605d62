import Support

typealias Program = Sleep

/// How late sleeps end: one sleep a round, whose time is what it lasted beyond what was asked for.
struct Sleep: Workload {
    static var name: StaticString { "sleep" }
    static var summary: StaticString { "timer accuracy: how much longer a sleep lasts than was asked for" }
    static var operation: StaticString { "sleep, beyond its length" }
    static var options: StaticString {
        """
          --microseconds T,T…  lengths, each of phases relative-Tus and absolute-Tus (default 100,1000,10000)

        """
    }

    private let lengths: [UInt64]
    private var overshoot: UInt64 = 0
    private var endedEarly = false

    init(_ arguments: inout Arguments) {
        lengths = arguments.numbers("--microseconds", default: [100, 1000, 10_000], in: 1...3_600_000_000)
    }

    /// nanosleep for every length, then clock_nanosleep until a time.
    var phases: Int { lengths.count * 2 }

    func appendName(ofPhase phase: Int, to text: inout Text) {
        text.append(isAbsolute(phase) ? "absolute-" : "relative-")
        text.append(lengths[phase % lengths.count])
        text.append("us")
    }

    mutating func run(phase: Int) -> UInt64 {
        let length = Int64(bitPattern: lengths[phase % lengths.count]) &* 1000
        let firstCycles = vb_tsc_begin()
        let begin = Self.now()
        if isAbsolute(phase) {
            var end = Self.time(begin &+ length)
            withUnsafeMutablePointer(to: &end) {
                Self.expectZero(
                    vb_syscall4(
                        Int64(SYS_clock_nanosleep), Int64(CLOCK_MONOTONIC), Int64(TIMER_ABSTIME),
                        Int64(Int(bitPattern: $0)), 0))
            }
        } else {
            var span = Self.time(length)
            withUnsafeMutablePointer(to: &span) {
                Self.expectZero(vb_syscall3(Int64(SYS_nanosleep), Int64(Int(bitPattern: $0)), 0, 0))
            }
        }
        let elapsed = Self.now() &- begin
        let cycles = vb_tsc_end() &- firstCycles
        endedEarly = elapsed < length
        // The TSC runs beside the clock by the ratio of this very sleep.
        overshoot = elapsed > length ? UInt64(Double(cycles) * Double(elapsed &- length) / Double(elapsed)) : 0
        return 1
    }

    func measuredCycles(phase: Int) -> UInt64? { overshoot }

    /// No sleep may end early; the rest is what is measured.
    mutating func outcome(phase: Int) -> Outcome {
        Outcome(got: endedEarly ? 0 : lengths[phase % lengths.count], expected: lengths[phase % lengths.count])
    }

    private func isAbsolute(_ phase: Int) -> Bool { phase >= lengths.count }

    private static func expectZero(_ result: Int64) {
        if result != 0 { systemError("sleeping", result) }
    }

    private static func time(_ nanoseconds: Int64) -> timespec {
        var time = timespec()
        time.tv_sec = Int(nanoseconds / 1_000_000_000)
        time.tv_nsec = Int(nanoseconds % 1_000_000_000)
        return time
    }

    private static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }
}
