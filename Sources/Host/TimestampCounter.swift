import CLinux
import Glibc
import Synchronization

/// The CPU's time-stamp counter: the clock of every figure vbench takes around guest code.
public enum TimestampCounter {
    /// The counter now. Not serialising: a few cycles of neighbouring work may fall on either side.
    @inline(__always)
    public static func now() -> UInt64 { clinux_rdtsc() }

    /// Ticks per second.
    public static var hertz: UInt64 { measured.hertz }

    /// Where `hertz` comes from, for reports.
    public static var source: String { measured.source }

    /// Whether the counter runs at one rate in every power state (Intel SDM vol. 3, 19.17.1: CPUID 0x80000007 EDX bit 8).
    public static var isInvariant: Bool {
        clinux_cpuid(0x8000_0000, 0).eax >= 0x8000_0007 && clinux_cpuid(0x8000_0007, 0).edx & (1 << 8) != 0
    }

    /// `ticks` as nanoseconds.
    public static func nanoseconds(_ ticks: UInt64) -> Double { Double(ticks) * 1e9 / Double(hertz) }

    /// Takes over a frequency that another process of this host has found, which saves finding it again (50 ms where it must be
    /// calibrated). Call before anything asks for `hertz`; later it has no effect.
    public static func adopt(hertz: UInt64) { adoptedHertz.store(hertz, ordering: .releasing) }

    private static let adoptedHertz = Atomic<UInt64>(0)

    private static let measured: (hertz: UInt64, source: String) = {
        let adopted = adoptedHertz.load(ordering: .acquiring)
        if adopted != 0 { return (adopted, "the process that started this one") }
        if let hertz = fromCrystal() { return (hertz, "CPUID leaf 0x15") }
        let kernel = clinux_tsc_hertz_from_perf()
        if kernel != 0 { return (kernel, "kernel (perf event page)") }
        return (calibrated(), "calibrated against CLOCK_MONOTONIC_RAW")
    }()

    /// Core crystal clock times ratio, where the CPU gives all three (Intel SDM vol. 2, CPUID leaf 0x15). Leaf 0x16 only
    /// gives the marketing frequency, which differs from the TSC by up to a percent, and is not used.
    private static func fromCrystal() -> UInt64? {
        guard clinux_cpuid(0, 0).eax >= 0x15 else { return nil }
        let leaf = clinux_cpuid(0x15, 0)
        guard leaf.eax != 0, leaf.ebx != 0, leaf.ecx != 0 else { return nil }
        return UInt64(leaf.ecx) * UInt64(leaf.ebx) / UInt64(leaf.eax)
    }

    /// Best of five 10 ms windows: the one whose clock readings were bracketed most tightly.
    private static func calibrated() -> UInt64 {
        var best: (uncertainty: UInt64, hertz: Double) = (.max, 1e9)
        for _ in 0..<5 {
            let begin = reading()
            usleep(10_000)
            let end = reading()
            let nanoseconds = end.nanoseconds &- begin.nanoseconds
            guard nanoseconds > 0, end.tsc > begin.tsc else { continue }
            let uncertainty = begin.uncertainty &+ end.uncertainty
            if uncertainty < best.uncertainty {
                best = (uncertainty, Double(end.tsc - begin.tsc) * 1e9 / Double(nanoseconds))
            }
        }
        return UInt64(best.hertz)
    }

    private static func reading() -> (tsc: UInt64, nanoseconds: UInt64, uncertainty: UInt64) {
        var best: (tsc: UInt64, nanoseconds: UInt64, uncertainty: UInt64) = (0, 0, .max)
        for _ in 0..<16 {
            var time = timespec()
            let before = now()
            clock_gettime(CLOCK_MONOTONIC_RAW, &time)
            let after = now()
            if after &- before < best.uncertainty {
                best = (
                    before &+ (after &- before) / 2, UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec),
                    after &- before
                )
            }
        }
        return best
    }
}
