import GuestInterface
import Host

/// What the VMM does after a port access.
public enum PortAction: Equatable, Sendable {
    /// Enter the guest again.
    case `continue`
    /// The guest ended the machine through the debug-exit port.
    case exit(code: UInt32)
    /// The guest reset its machine.
    case reset
}

/// The I/O ports of the machine, the same for both VMMs.
///
/// Owned by the vCPU's thread. Between guest exit and entry it allocates nothing except where the guest sends output or
/// breaks a protocol.
public final class PortBus {
    private let observer: TimedObserver
    private let mailbox: Mailbox
    private let platform: PlatformDevices?
    private let ledger: ExitLedger?
    private var serial: SerialConsole
    private var speakerStatus: UInt8 = 0

    /// Accesses to ports with nothing behind them.
    public private(set) var unknownAccesses: UInt64 = 0
    /// Writes to the doorbell.
    public private(set) var doorbells: UInt64 = 0
    /// Times the guest broke the mailbox protocol, and how it first did.
    public private(set) var mailboxErrors: UInt64 = 0
    public private(set) var firstMailboxError: MachineError?
    /// TSC cycles spent in the observer: the harness's work, which a VMM takes off the cost of the exit it happened in.
    public var deliveryCycles: UInt64 { observer.cycles }
    /// Records the guest says it had to drop for want of space.
    public var droppedRecords: UInt32 { mailbox.dropped }

    /// Ports of a machine whose mailbox is where `BootLoader` puts it.
    ///
    /// - Parameters:
    ///   - configuration: decides what the serial port receives, and whether output goes to the observer byte by byte.
    ///   - platform: a PC's other devices; nil: nothing is there, and kernels find that out.
    ///   - ledger: is told of the phases that the guest reaches.
    /// - Throws: `badGuestAddress` when RAM ends below the mailbox.
    public init(
        memory: GuestMemory, observer: any MachineObserver, _ configuration: MachineConfiguration? = nil,
        _ platform: PlatformDevices? = nil, ledger: ExitLedger? = nil
    ) throws(MachineError) {
        self.observer = TimedObserver(observer)
        self.platform = platform
        self.ledger = ledger
        serial = SerialConsole(
            input: configuration?.consoleInput.map { ConsoleInput(descriptor: $0) },
            isLive: configuration?.hasLiveConsole ?? false)
        mailbox = try Mailbox(
            memory: memory, address: GuestPhysicalAddress(BootLayout.mailbox), bytes: BootLayout.mailboxBytes)
    }

    /// The guest writes the low `size` (1, 2 or 4) bytes of `value` to `port`.
    public func write(_ port: UInt16, size: Int, value: UInt32) -> PortAction {
        switch port {
        case Port.doorbell:
            doorbells &+= 1
            ring(value)
            return .continue
        case Port.worldSwitch:
            return .continue
        case Port.debugExit:
            finish()
            return .exit(code: size == 1 ? value & 0xFF : size == 2 ? value & 0xFFFF : value)
        default:
            // Byte devices behind a wider access see one byte a port, as on an 8-bit bus.
            for index in 0..<size {
                let byte = UInt8(truncatingIfNeeded: value >> UInt32(8 * index))
                if writeByte(port &+ UInt16(index), byte) {
                    finish()
                    return .reset
                }
            }
            return .continue
        }
    }

    /// The guest reads `size` (1, 2 or 4) bytes from `port`; unclaimed bytes read as ones.
    public func read(_ port: UInt16, size: Int) -> UInt32 {
        var value: UInt32 = 0
        for index in 0..<size {
            value |= UInt32(readByte(port &+ UInt16(index))) << UInt32(8 * index)
        }
        return value
    }

    /// The byte that the port gives until the VMM itself changes something, where reading does nothing else. Nil: not so.
    public func steadyValue(of port: UInt16) -> UInt8? {
        switch port {
        case Port.postCode, Port.serial + 6: readByte(port)
        // The line status tells of received bytes.
        case Port.serial + 5: serial.canReceive ? nil : readByte(port)
        default: nil
        }
    }

    /// Hands over everything the guest has sent so far. Call at the machine's end.
    public func finish() {
        drain()
        serial.flush(to: observer)
    }

    private func ring(_ value: UInt32) {
        switch value & ~0xFF {
        case Doorbell.roundBegin: ledger?.mark(.timed(Int(value & 0xFF)))
        case Doorbell.roundEnd: ledger?.mark(.program)
        default: drain()
        }
    }

    private func drain() {
        do throws(MachineError) {
            try mailbox.drain { header, payload in
                if let ledger, let phase = Self.phase(header) { ledger.mark(phase) }
                observer.record(header, payload: payload)
            }
        } catch {
            mailboxErrors &+= 1
            if firstMailboxError == nil { firstMailboxError = error }
        }
    }

    /// The phase of the machine's life that a record begins.
    private static func phase(_ header: MailboxRecordHeader) -> LedgerPhase? {
        switch (header.kind, header.detail) {
        case (MailboxRecordKind.phase, BootPhase.programStart): .program
        case (MailboxRecordKind.programExit, _): .shutdown
        default: nil
        }
    }

    /// COM1's interrupt line is ISA line 4.
    public static let serialLine = 4

    /// The level of the serial port's interrupt line now.
    public func serialInterrupt() -> Bool { serial.interruptLine }

    /// Returns true when the guest resets its machine.
    private func writeByte(_ port: UInt16, _ value: UInt8) -> Bool {
        if let platform, let kind = PlatformDevices.kind(of: port) {
            return platform.write(port, kind, value, now: TimestampCounter.now())
        }
        switch port {
        case Port.serial...(Port.serial + 7):
            serial.write(port - Port.serial, value, to: observer)
            platform?.setLine(Self.serialLine, serial.interruptLine)
        // POST code, interrupt controllers, timer, speaker, real-time clock: kernels probe them; nothing is there.
        case Port.postCode, 0x20, 0x21, 0xA0, 0xA1, 0x40...0x43, 0x61, 0x70, 0x71: break
        default: unknownAccesses &+= 1
        }
        return false
    }

    private func readByte(_ port: UInt16) -> UInt8 {
        if let platform, let kind = PlatformDevices.kind(of: port) {
            return platform.read(port, kind, now: TimestampCounter.now())
        }
        switch port {
        case Port.serial...(Port.serial + 7):
            let value = serial.read(port - Port.serial)
            platform?.setLine(Self.serialLine, serial.interruptLine)
            return value
        case Port.postCode: return 0xFF
        case 0x21, 0xA1: return 0xFF  // every line masked
        case 0x20, 0xA0, 0x40...0x43, 0x70, 0x71: return 0
        case 0x61:
            // Refresh and timer-2 bits toggle, so that a delay loop on them ends.
            speakerStatus ^= 0x30
            return speakerStatus
        case Port.doorbell..<(Port.doorbell + 4), Port.debugExit..<(Port.debugExit + 4): return 0
        default:
            unknownAccesses &+= 1
            return 0xFF
        }
    }
}

/// Passes everything on and counts how long that takes.
private final class TimedObserver: MachineObserver {
    private let target: any MachineObserver
    private(set) var cycles: UInt64 = 0

    init(_ target: any MachineObserver) { self.target = target }

    func record(_ header: MailboxRecordHeader, payload: UnsafeRawBufferPointer) {
        let begin = TimestampCounter.now()
        target.record(header, payload: payload)
        cycles &+= TimestampCounter.now() &- begin
    }

    func serialOutput(_ bytes: UnsafeRawBufferPointer) {
        let begin = TimestampCounter.now()
        target.serialOutput(bytes)
        cycles &+= TimestampCounter.now() &- begin
    }
}
