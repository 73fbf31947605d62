import CPU

/// Time from the TSC.
struct Clock {
    private var bootTSC: UInt64 = 0
    private var bootWall: UInt64 = 0
    /// Nanoseconds a tick, as a 32.32 fixed-point number.
    private var scale: UInt64 = 1 << 32

    mutating func start(hertz: UInt64, bootTSC: UInt64, wallNanoseconds: UInt64) {
        self.bootTSC = bootTSC
        bootWall = wallNanoseconds
        scale = (1_000_000_000 << 32) / (hertz < 1_000_000 ? 1_000_000 : hertz)
    }

    /// Nanoseconds since the wall clock was taken; monotonic.
    @inline(__always)
    var monotonicNanoseconds: UInt64 {
        let product = (cpu_rdtsc() &- bootTSC).multipliedFullWidth(by: scale)
        return product.high << 32 | product.low >> 32
    }

    var wallNanoseconds: UInt64 { bootWall &+ monotonicNanoseconds }

    /// TSC frequency by counter 2 of the PIT (1,193,182 Hz), for machines that do not tell it.
    static func measureTSC() -> UInt64 {
        let count: UInt32 = 11_932  // 10 ms
        cpu_out8(0x61, (cpu_in8(0x61) & 0xFC) | 1)
        cpu_out8(0x43, 0xB0)  // counter 2, low then high byte, mode 0
        cpu_out8(0x42, UInt8(truncatingIfNeeded: count))
        cpu_out8(0x42, UInt8(truncatingIfNeeded: count >> 8))
        let start = cpu_rdtsc()
        var patience = 10_000_000
        while cpu_in8(0x61) & 0x20 == 0, patience > 0 { patience -= 1 }
        let ticks = cpu_rdtsc() &- start
        return patience == 0 ? 1_000_000_000 : ticks &* 1_193_182 / UInt64(count)
    }
}

nonisolated(unsafe) var clock = Clock()
