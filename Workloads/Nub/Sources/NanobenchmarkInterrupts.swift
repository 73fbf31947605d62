import CPU

/// Nanobenchmarks of the local APIC: interrupts to itself, and its timer. They open interrupts, and take the timer from the tick.
enum NanobenchmarkInterrupts {
    private static let vector: UInt32 = 0xF0
    /// Shorthand "self", fixed delivery (SDM vol. 3A 10.6.1).
    private static let toSelf: UInt32 = 1 << 18
    /// LVT timer modes: one-shot is 0.
    private static let deadlineMode: UInt32 = 2 << 17
    private static let deadlineRegister: UInt32 = 0x6E0
    private static let divideByOne: UInt32 = 0xB
    /// From the start of the timer to its deadline: 200 µs, so that starting it is done by then.
    private static let leadsPerSecond: UInt64 = 5_000

    /// Whether the timer takes deadlines in TSC cycles.
    static var hasDeadlines: Bool { cpu_cpuid(1, 0).ecx >> 24 & 1 != 0 }

    /// Runs `body` without the tick; the gate of `vector` stays, as an interrupt may be late.
    private static func withoutTick(_ body: () -> NanobenchmarkResult?) -> NanobenchmarkResult? {
        nano_apic_registers = LocalAPIC.registers
        DescriptorTables.setGate(Int(vector), nano_interrupt_entry(), ist: 0)
        LocalAPIC.takeTimer()
        defer { LocalAPIC.releaseTimer() }
        return body()
    }

    /// Nil: no interrupt arrived.
    static func interruptSelf(_ iterations: UInt64) -> NanobenchmarkResult? {
        withoutTick {
            var result = NanobenchmarkResult()
            let before = nano_count
            result.cycles = nano_self_interrupts(iterations, toSelf | vector)
            result.check = nano_count &- before
            return result.cycles == 0 ? nil : result
        }
    }

    /// Starts the timer with a deadline that it does not live to see.
    static func arm(_ iterations: UInt64) -> NanobenchmarkResult? {
        withoutTick {
            var result = NanobenchmarkResult()
            result.check = iterations &* Nanobenchmark.timerArm.unrolled
            if hasDeadlines {
                LocalAPIC.write(LocalAPIC.Register.timer, deadlineMode | vector)
                result.cycles = vb_nano_msr_write(iterations, deadlineRegister, cpu_rdtsc() &+ 1 << 40)
                cpu_wrmsr(deadlineRegister, 0)
                return result
            }
            LocalAPIC.write(LocalAPIC.Register.divide, divideByOne)
            LocalAPIC.write(LocalAPIC.Register.timer, vector)
            let register = LocalAPIC.Register.initialCount
            let count: UInt32 = .max
            if LocalAPIC.registers == 0 {
                result.cycles = vb_nano_msr_write(iterations, 0x800 + register, UInt64(count))
            } else {
                result.cycles = vb_nano_store32(iterations, LocalAPIC.registers &+ UInt64(register) << 4, count)
            }
            LocalAPIC.write(register, 0)
            return result
        }
    }

    /// The time from the deadline to the handler. Nil: no interrupt arrived.
    static func deliver(_ iterations: UInt64, halts: Bool) -> NanobenchmarkResult? {
        withoutTick {
            var count: UInt32 = 0
            if hasDeadlines {
                LocalAPIC.write(LocalAPIC.Register.timer, deadlineMode | vector)
            } else {
                LocalAPIC.write(LocalAPIC.Register.divide, divideByOne)
                LocalAPIC.write(LocalAPIC.Register.timer, vector)
                count = UInt32(truncatingIfNeeded: bootInformation.apicTimerHertz / leadsPerSecond)
            }
            let lead = bootInformation.tscHertz / leadsPerSecond
            var result = NanobenchmarkResult()
            let before = nano_count
            for _ in 0..<iterations {
                let late = nano_timer(lead, count, halts ? 1 : 0)
                if late == .max { return nil }
                result.cycles &+= late
            }
            result.check = nano_count &- before
            return result
        }
    }
}
