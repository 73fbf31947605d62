/// A local APIC in x2APIC or xAPIC mode, as a VMM without an in-kernel one presents it (Intel SDM vol. 3, chapter 11).
///
/// One vCPU: timer (one-shot and periodic), self-IPI, interrupts of an I/O APIC, task priority, EOI; 8259s at LINT0. Times are TSC ticks of the
/// host, and the timer's input clock is `inputHertz`.
public struct LocalAPIC: Sendable {
    /// Input clock of the timer in Hz, before the divider; KVM's value, so that kernels see the same on both VMMs.
    public static let inputHertz: UInt64 = 1_000_000_000

    private let tscHertz: UInt64
    /// 256 bits each: interrupts requested, and in service.
    private var requested: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    private var inService: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    /// Bits 7:4 of CR8's byte: interrupts of this class and below wait.
    private var taskPriority: UInt32 = 0
    private var spurious: UInt32 = 0xFF
    private var timerEntry: UInt32 = 1 << 16
    private var divideConfiguration: UInt32 = 0
    private var initialCount: UInt32 = 0
    private var localEntries: [UInt32: UInt32] = [:]
    /// TSC at which the count was loaded, and at which the timer fires next; nil when it does not run.
    private var timerStart: UInt64 = 0
    private(set) public var deadline: UInt64?

    /// - Parameter tscHertz: frequency of the TSC that `now` arguments come from.
    public init(tscHertz: UInt64) { self.tscHertz = tscHertz }

    /// The architectural address of its registers; they cannot be moved.
    public static let address: UInt64 = 0xFEE0_0000
    public static let bytes: UInt64 = 0x1000
    private static let enabled: UInt64 = 1 << 11
    private static let x2APIC: UInt64 = 1 << 10
    private static let bootstrap: UInt64 = 1 << 8

    /// IA32_APIC_BASE (Intel SDM vol. 3, 11.4.3).
    public private(set) var baseRegister =
        LocalAPIC.address | LocalAPIC.enabled | LocalAPIC.x2APIC | LocalAPIC.bootstrap

    public var isInX2APICMode: Bool { baseRegister & Self.x2APIC != 0 }

    /// Starts in xAPIC mode, as after a reset.
    public mutating func startInXAPICMode() { baseRegister &= ~Self.x2APIC }

    /// Writes IA32_APIC_BASE. False: a transition that is not allowed, or another address (#GP).
    public mutating func writeBase(_ value: UInt64) -> Bool {
        guard value & ~(Self.enabled | Self.x2APIC) == Self.address | Self.bootstrap else { return false }
        let mode = value & (Self.enabled | Self.x2APIC)
        // x2APIC only when enabled; from it only to disabled (Intel SDM vol. 3, 11.12.5).
        guard mode != Self.x2APIC else { return false }
        if isInX2APICMode && mode == Self.enabled { return false }
        baseRegister = value
        return true
    }

    // MARK: Interrupts

    /// Highest-priority interrupt that may be delivered now, or nil.
    public var deliverable: UInt8? {
        guard spurious & 1 << 8 != 0, baseRegister & Self.enabled != 0, let vector = Self.highest(requested) else {
            return nil
        }
        let servicing = Self.highest(inService).map { UInt32($0) & 0xF0 } ?? 0
        return UInt32(vector) & 0xF0 > max(servicing, taskPriority & 0xF0) ? vector : nil
    }

    /// An interrupt from outside.
    public mutating func request(_ vector: UInt8) { Self.set(&requested, vector, true) }

    /// Whether interrupts of the 8259s get through: LINT0 takes them, or there is no APIC in their way (as in KVM's).
    public var acceptsExternalInterrupts: Bool {
        guard baseRegister & Self.enabled != 0 else { return true }
        let entry = localEntries[Self.lint0] ?? Self.externalInterrupt
        return entry & 1 << 16 == 0 && entry & 0x700 == Self.externalInterrupt
    }

    private static let lint0: UInt32 = 0x35
    /// Delivery mode ExtINT: what firmware leaves in LINT0, and this machine starts with.
    private static let externalInterrupt: UInt32 = 0x700

    /// The interrupt that an EOI would end.
    public var highestInService: UInt8? { Self.highest(inService) }

    /// The interrupt is being delivered: from request to service.
    public mutating func acknowledge(_ vector: UInt8) {
        Self.set(&requested, vector, false)
        Self.set(&inService, vector, true)
    }

    /// Raises the interrupts whose time has come.
    public mutating func poll(now: UInt64) {
        guard let due = deadline, now >= due else { return }
        if timerEntry & 1 << 16 == 0 { Self.set(&requested, UInt8(truncatingIfNeeded: timerEntry), true) }
        // Bits 18:17 = 01: periodic. Ticks that were missed altogether merge into one, as on hardware.
        let period = periodTicks
        if timerEntry >> 17 & 3 == 1, period > 0 {
            let missed = (now - due) / period
            timerStart = due + missed * period
            deadline = timerStart + period
        } else {
            deadline = nil
        }
    }

    // MARK: Registers

    /// CR8: bits 7:4 of the task priority.
    public var cr8: UInt64 {
        get { UInt64(taskPriority >> 4 & 15) }
        set { taskPriority = UInt32(newValue & 15) << 4 }
    }

    /// Reads an x2APIC register; `index` is MSR - 0x800. Nil: no such register (#GP).
    public func read(_ index: UInt32, now: UInt64) -> UInt64? {
        switch index {
        case 0x02: return 0
        // Version 0x14, seven local-vector entries.
        case 0x03: return 0x6_0014
        case 0x08: return UInt64(taskPriority)
        case 0x0A: return UInt64(max(taskPriority & 0xF0, Self.highest(inService).map { UInt32($0) & 0xF0 } ?? 0))
        case 0x0D: return 1
        case 0x0F: return UInt64(spurious)
        case 0x10...0x17: return Self.word(inService, index - 0x10)
        case 0x18...0x1F: return 0
        case 0x20...0x27: return Self.word(requested, index - 0x20)
        case 0x28: return 0
        case 0x2F, 0x33...0x37:
            return UInt64(localEntries[index] ?? (index == Self.lint0 ? Self.externalInterrupt : 1 << 16))
        case 0x30: return 0
        case 0x32: return UInt64(timerEntry)
        case 0x38: return UInt64(initialCount)
        case 0x39: return UInt64(currentCount(now: now))
        case 0x3E: return UInt64(divideConfiguration)
        default: return nil
        }
    }

    /// Writes an x2APIC register. False: no such register, or a value it does not take (#GP).
    public mutating func write(_ index: UInt32, _ value: UInt64, now: UInt64) -> Bool {
        let word = UInt32(truncatingIfNeeded: value)
        switch index {
        case 0x08: taskPriority = word & 0xFF
        case 0x0B:
            guard value == 0 else { return false }
            if let vector = Self.highest(inService) { Self.set(&inService, vector, false) }
        case 0x0F: spurious = word & 0x13FF
        case 0x28:
            guard value == 0 else { return false }
        case 0x2F, 0x33...0x37: localEntries[index] = word
        case 0x30:
            // Fixed interrupts to self (by shorthand, or by our identifier 0); others have no receiver.
            let toSelf = word >> 18 & 3 == 1 || word >> 18 & 3 == 2 || (word >> 18 & 3 == 0 && value >> 32 == 0)
            if toSelf, word >> 8 & 7 == 0 { Self.set(&requested, UInt8(truncatingIfNeeded: word), true) }
        case 0x32:
            timerEntry = word & 0x7_00FF
            // TSC-deadline mode is not offered (CPUID says so).
            guard word >> 17 & 3 < 2 else { return false }
        case 0x38:
            initialCount = word
            timerStart = now
            deadline = word == 0 ? nil : now &+ periodTicks
        case 0x3E:
            divideConfiguration = word & 0xB
            if initialCount > 0, deadline != nil { deadline = timerStart &+ periodTicks }
        case 0x3F: Self.set(&requested, UInt8(truncatingIfNeeded: word), true)
        default: return false
        }
        return true
    }

    // MARK: xAPIC memory (Intel SDM vol. 3, table 11-1)

    /// Reads the 32-bit register at `offset` of the register page; what is no register reads as zero.
    public func readMemory(_ offset: UInt64, now: UInt64) -> UInt32 {
        switch offset {
        case 0x0D0: logicalDestination
        case 0x0E0: destinationFormat
        case 0x310: commandHigh
        default: UInt32(truncatingIfNeeded: read(UInt32(offset >> 4), now: now) ?? 0)
        }
    }

    /// Writes a register; other offsets are ignored.
    public mutating func writeMemory(_ offset: UInt64, _ value: UInt32, now: UInt64) {
        switch offset {
        case 0x0D0: logicalDestination = value & 0xFF00_0000
        case 0x0E0: destinationFormat = value | 0x0FFF_FFFF
        case 0x310: commandHigh = value & 0xFF00_0000
        // Any value ends an interrupt, and clears the error status.
        case 0x0B0: _ = write(0x0B, 0, now: now)
        case 0x280: break
        case 0x300: _ = write(0x30, UInt64(commandHigh >> 24) << 32 | UInt64(value), now: now)
        // Self-IPI is x2APIC's.
        case 0x3F0: break
        default: _ = write(UInt32(offset >> 4), UInt64(value), now: now)
        }
    }

    private var logicalDestination: UInt32 = 0
    private var destinationFormat: UInt32 = .max
    private var commandHigh: UInt32 = 0

    /// 0b000 divides by 2, …, 0b110 by 128, 0b111 by 1.
    private var divider: UInt64 {
        let code = divideConfiguration >> 1 & 4 | divideConfiguration & 3
        return code == 7 ? 1 : 2 << UInt64(code)
    }

    private var periodTicks: UInt64 {
        let product = (UInt64(initialCount) * divider).multipliedFullWidth(by: tscHertz)
        return max(1, Self.inputHertz.dividingFullWidth(product).quotient)
    }

    private func currentCount(now: UInt64) -> UInt32 {
        guard let deadline, deadline > now else { return 0 }
        let left = (deadline - now).multipliedFullWidth(by: Self.inputHertz)
        return UInt32(clamping: tscHertz.dividingFullWidth(left).quotient / divider)
    }

    // MARK: 256-bit sets

    private static func highest(_ set: (UInt64, UInt64, UInt64, UInt64)) -> UInt8? {
        if set.3 != 0 { return UInt8(192 + 63 - set.3.leadingZeroBitCount) }
        if set.2 != 0 { return UInt8(128 + 63 - set.2.leadingZeroBitCount) }
        if set.1 != 0 { return UInt8(64 + 63 - set.1.leadingZeroBitCount) }
        if set.0 != 0 { return UInt8(63 - set.0.leadingZeroBitCount) }
        return nil
    }

    private static func set(_ set: inout (UInt64, UInt64, UInt64, UInt64), _ vector: UInt8, _ on: Bool) {
        let bit = UInt64(1) << UInt64(vector & 63)
        switch vector >> 6 {
        case 0: set.0 = on ? set.0 | bit : set.0 & ~bit
        case 1: set.1 = on ? set.1 | bit : set.1 & ~bit
        case 2: set.2 = on ? set.2 | bit : set.2 & ~bit
        default: set.3 = on ? set.3 | bit : set.3 & ~bit
        }
    }

    private static func word(_ set: (UInt64, UInt64, UInt64, UInt64), _ index: UInt32) -> UInt64 {
        let quad = [set.0, set.1, set.2, set.3][Int(index / 2)]
        return index & 1 == 0 ? quad & 0xFFFF_FFFF : quad >> 32
    }
}
