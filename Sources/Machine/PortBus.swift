import GuestInterface
import Host

/// What the VMM does after a port access.
public enum PortAction: Equatable, Sendable {
    /// Enter the guest again.
    case `continue`
    /// The guest ended the machine through the debug-exit port.
    case exit(code: UInt32)
}

/// The I/O ports of the machine, the same for both VMMs.
///
/// Owned by the vCPU's thread. Between guest exit and entry it allocates nothing except where the guest sends output or
/// breaks a protocol.
public final class PortBus {
    private let observer: TimedObserver
    private let mailbox: Mailbox
    private var serial = SerialConsole()
    private var speakerStatus: UInt8 = 0

    /// Accesses to ports with nothing behind them.
    public private(set) var unknownAccesses: UInt64 = 0
    /// Times the guest broke the mailbox protocol, and how it first did.
    public private(set) var mailboxErrors: UInt64 = 0
    public private(set) var firstMailboxError: MachineError?
    /// TSC cycles spent in the observer: the harness's work, which a VMM takes off the cost of the exit it happened in.
    public var deliveryCycles: UInt64 { observer.cycles }
    /// Records the guest says it had to drop for want of space.
    public var droppedRecords: UInt32 { mailbox.dropped }

    /// Ports of a machine whose mailbox is where `BootLoader` puts it. Throws `badGuestAddress` when RAM ends below it.
    public init(memory: GuestMemory, observer: any MachineObserver) throws(MachineError) {
        self.observer = TimedObserver(observer)
        mailbox = try Mailbox(
            memory: memory, address: GuestPhysicalAddress(BootLayout.mailbox), bytes: BootLayout.mailboxBytes)
    }

    /// The guest writes the low `size` (1, 2 or 4) bytes of `value` to `port`.
    public func write(_ port: UInt16, size: Int, value: UInt32) -> PortAction {
        switch port {
        case Port.doorbell:
            drain()
            return .continue
        case Port.debugExit:
            finish()
            return .exit(code: size == 1 ? value & 0xFF : size == 2 ? value & 0xFFFF : value)
        default:
            // Byte devices behind a wider access see one byte a port, as on an 8-bit bus.
            for index in 0..<size {
                writeByte(port &+ UInt16(index), UInt8(truncatingIfNeeded: value >> UInt32(8 * index)))
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
        case Port.postCode, Port.serial + 5, Port.serial + 6: readByte(port)
        default: nil
        }
    }

    /// Hands over everything the guest has sent so far. Call at the machine's end.
    public func finish() {
        drain()
        serial.flush(to: observer)
    }

    private func drain() {
        do throws(MachineError) {
            try mailbox.drain { header, payload in observer.record(header, payload: payload) }
        } catch {
            mailboxErrors &+= 1
            if firstMailboxError == nil { firstMailboxError = error }
        }
    }

    private func writeByte(_ port: UInt16, _ value: UInt8) {
        switch port {
        case Port.serial...(Port.serial + 7): serial.write(port - Port.serial, value, to: observer)
        // POST code, interrupt controllers, timer, speaker, real-time clock: kernels probe them; nothing is there.
        case Port.postCode, 0x20, 0x21, 0xA0, 0xA1, 0x40...0x43, 0x61, 0x70, 0x71: break
        default: unknownAccesses &+= 1
        }
    }

    private func readByte(_ port: UInt16) -> UInt8 {
        switch port {
        case Port.serial...(Port.serial + 7): return serial.read(port - Port.serial)
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
