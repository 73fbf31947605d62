/// The devices that kernels for PCs expect beside serial port and local APIC: 8259 pair, 8254, I/O APIC, CMOS clock, 8042.
///
/// The software VMM asks it for interrupts; under KVM the in-kernel models take the first three's place and their accesses never get
/// here. Owned by the vCPU's thread.
public final class PlatformDevices {
    private var controllers = InterruptControllerPair()
    private var timer: IntervalTimer
    private var ioapic = IOAPIC()
    private var clock: RealTimeClock
    private var keyboard = KeyboardController()
    /// Vectors from the I/O APIC on their way to the local APIC; never more than its pins.
    private var requests: [UInt8] = []

    /// - Parameters:
    ///   - lowMemoryBytes: RAM below the device hole.
    ///   - tscHertz: frequency of the TSC that `now` arguments come from.
    public init(lowMemoryBytes: UInt64, tscHertz: UInt64) {
        timer = IntervalTimer(tscHertz: tscHertz)
        clock = RealTimeClock(lowMemoryBytes: lowMemoryBytes)
        requests.reserveCapacity(2 * IOAPIC.pins)
    }

    // MARK: Interrupts

    /// Sets an ISA interrupt line at both controllers; line 0 is pin 2 of the I/O APIC, as in PCs.
    public func setLine(_ line: Int, _ level: Bool) {
        controllers.setLine(line, level)
        request(ioapic.setLine(line == 0 ? 2 : line, level))
    }

    private func request(_ vector: UInt8?) {
        guard let vector, !requests.contains(vector) else { return }
        requests.append(vector)
    }

    /// Hands the I/O APIC's interrupts over.
    public func deliver(to apic: inout LocalAPIC) {
        guard !requests.isEmpty else { return }
        for vector in requests { apic.request(vector) }
        requests.removeAll(keepingCapacity: true)
    }

    /// The 8259s have an interrupt for the processor.
    public var hasExternalInterrupt: Bool { controllers.isPending }

    /// The processor takes it: its vector.
    public func acknowledgeExternalInterrupt() -> UInt8 { controllers.acknowledge() }

    /// The local APIC has been told of the end of this interrupt.
    public func endOfInterrupt(_ vector: UInt8) { request(ioapic.endOfInterrupt(vector)) }

    /// Raises the timer's interrupt if it is due.
    public func poll(now: UInt64) {
        guard timer.poll(now: now) else { return }
        setLine(0, true)
        setLine(0, false)
    }

    /// TSC at which `poll` has something to do next; nil: never.
    public var deadline: UInt64? { timer.deadline }

    // MARK: Ports

    /// What a port is for, as far as it is one of these devices'.
    enum PortKind { case controllers, timer, clock, keyboard, fastReset, reset }

    static func kind(of port: UInt16) -> PortKind? {
        switch port {
        case 0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1: .controllers
        case 0x40...0x43, 0x61: .timer
        case 0x60, 0x64: .keyboard
        case 0x70, 0x71: .clock
        case 0x92: .fastReset
        case 0xCF9: .reset
        default: nil
        }
    }

    func read(_ port: UInt16, _ kind: PortKind, now: UInt64) -> UInt8 {
        switch kind {
        case .controllers: controllers.read(port)
        case .timer: timer.read(port, now: now)
        case .clock: port == 0x71 ? clock.read() : 0xFF
        case .keyboard: keyboard.read(port)
        // A20 is always enabled.
        case .fastReset: 0x02
        case .reset: 0
        }
    }

    /// Returns true when the guest resets its machine.
    func write(_ port: UInt16, _ kind: PortKind, _ value: UInt8, now: UInt64) -> Bool {
        switch kind {
        case .controllers: controllers.write(port, value)
        case .timer: timer.write(port, value, now: now)
        case .clock: if port == 0x70 { clock.select(value) }
        case .keyboard: return keyboard.write(port, value)
        case .fastReset: return value & 1 != 0
        // Reset control register (Intel ICH data sheets): bit 2 starts it.
        case .reset: return value & 4 != 0
        }
        return false
    }

    // MARK: Device memory

    /// Whether this address is the I/O APIC's.
    public static func isIOAPIC(_ physical: UInt64) -> Bool {
        physical >= IOAPIC.address && physical < IOAPIC.address + IOAPIC.bytes
    }

    public func readIOAPIC(_ physical: UInt64) -> UInt32 { ioapic.read(physical - IOAPIC.address) }

    public func writeIOAPIC(_ physical: UInt64, _ value: UInt32) {
        request(ioapic.write(physical - IOAPIC.address, value))
    }
}
