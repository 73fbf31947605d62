import CPU

/// The local APIC's timer, one-shot (SDM vol. 3A ch. 11): x2APIC registers where the CPU has them, else xAPIC memory
/// (QEMU's emulator only).
enum LocalAPIC {
    private static let timerVector: UInt32 = 32
    private static let masked: UInt32 = 1 << 16
    private static let spuriousVector: UInt32 = 255

    /// xAPIC register page, or 0 in x2APIC mode.
    nonisolated(unsafe) private(set) static var registers: UInt64 = 0
    nonisolated(unsafe) private static var divideConfiguration: UInt32 = 0
    /// Of the timer, divided.
    nonisolated(unsafe) private static var countsPerSecond: UInt64 = 0

    enum Register {
        static let endOfInterrupt: UInt32 = 0x0B
        static let spurious: UInt32 = 0x0F
        static let timer: UInt32 = 0x32
        static let initialCount: UInt32 = 0x38
        static let divide: UInt32 = 0x3E
    }

    static func start(timerHertz: UInt64) {
        let baseRegister: UInt32 = 0x1B
        let base = cpu_rdmsr(baseRegister)
        if processor.hasX2APIC {
            cpu_wrmsr(baseRegister, base | 1 << 11 | 1 << 10)
        } else {
            cpu_wrmsr(baseRegister, base | 1 << 11)
            registers = addressOf(KernelPageTables.mapDevice(at: PhysicalAddress(base & 0xF_FFFF_F000)))
        }
        write(Register.spurious, 1 << 8 | spuriousVector)
        // Divide by 16 unless the counter would then be too coarse.
        let divider: UInt64 = timerHertz >= 16_000_000 ? 16 : 1
        divideConfiguration = divider == 16 ? 0x3 : 0xB
        countsPerSecond = timerHertz / divider
        setUpTimer()
    }

    private static func setUpTimer() {
        write(Register.divide, divideConfiguration)
        write(Register.timer, timerVector)
    }

    /// Lets the timer interrupt once, after `span` or up to 10 ns later; spans beyond ten seconds end early.
    static func interrupt(afterNanoseconds span: UInt64) {
        let bounded = span < 10_000_000_000 ? span : 10_000_000_000
        // A count of 0 would stop the timer.
        let count = bounded &* countsPerSecond / 1_000_000_000 &+ 1
        write(Register.initialCount, count < UInt64(UInt32.max) ? UInt32(truncatingIfNeeded: count) : .max)
    }

    /// Gives the timer to the caller until `releaseTimer`; an interrupt of it that waits is taken.
    static func takeTimer() {
        write(Register.timer, masked | timerVector)
        cpu_take_interrupts()
        write(Register.initialCount, 0)
    }

    /// Gives the timer back to the kernel.
    static func releaseTimer() {
        setUpTimer()
        TimerInterrupts.resume()
    }

    static func write(_ register: UInt32, _ value: UInt32) {
        if registers == 0 {
            cpu_wrmsr(0x800 + register, UInt64(value))
        } else {
            cpu_store32(rawPointer(registers &+ UInt64(register) << 4), value)
        }
    }

    @inline(__always)
    static func endOfInterrupt() { write(Register.endOfInterrupt, 0) }

    /// Masks both 8259s of a PC.
    static func maskLegacyInterrupts() {
        cpu_out8(0x21, 0xFF)
        cpu_out8(0xA1, 0xFF)
    }
}
