/// The transmit half of a 16550 UART: always ready to send, never anything to receive, no interrupts.
///
/// Output is gathered into lines so that a guest that prints byte by byte does not call the observer for each.
/// Register numbers and bits: National Semiconductor PC16550D, table II.
public struct SerialConsole: ~Copyable {
    private static let capacity = 256
    // Invariant: `capacity` bytes, of which `[0, pending)` are initialised; freed in deinit only.
    private let buffer = UnsafeMutableRawPointer.allocate(byteCount: SerialConsole.capacity, alignment: 1)
    private var pending = 0
    private var interruptEnable: UInt8 = 0
    private var lineControl: UInt8 = 0
    private var modemControl: UInt8 = 0
    private var scratch: UInt8 = 0
    private var divisor: UInt16 = 1

    public init() {}

    deinit { buffer.deallocate() }

    private var divisorLatch: Bool { lineControl & 0x80 != 0 }

    /// The guest writes register `offset` (0…7).
    public mutating func write(_ offset: UInt16, _ value: UInt8, to observer: any MachineObserver) {
        switch offset {
        case 0 where divisorLatch: divisor = divisor & 0xFF00 | UInt16(value)
        case 0: append(value, to: observer)
        case 1 where divisorLatch: divisor = divisor & 0x00FF | UInt16(value) << 8
        case 1: interruptEnable = value & 0x0F
        case 3: lineControl = value
        case 4: modemControl = value & 0x1F
        case 7: scratch = value
        default: break
        }
    }

    /// The guest reads register `offset` (0…7).
    public func read(_ offset: UInt16) -> UInt8 {
        switch offset {
        case 0: divisorLatch ? UInt8(truncatingIfNeeded: divisor) : 0
        case 1: divisorLatch ? UInt8(truncatingIfNeeded: divisor >> 8) : interruptEnable
        case 2: 0xC1  // IIR: FIFOs on, no interrupt pending
        case 3: lineControl
        case 4: modemControl
        case 5: 0x60  // LSR: transmitter and holding register empty
        case 6: 0xB0  // MSR: carrier detect, data set ready, clear to send
        default: scratch
        }
    }

    /// Hands over what has been gathered.
    public mutating func flush(to observer: any MachineObserver) {
        guard pending > 0 else { return }
        observer.serialOutput(UnsafeRawBufferPointer(start: buffer, count: pending))
        pending = 0
    }

    private mutating func append(_ byte: UInt8, to observer: any MachineObserver) {
        buffer.storeBytes(of: byte, toByteOffset: pending, as: UInt8.self)
        pending += 1
        if byte == 0x0A || pending == Self.capacity { flush(to: observer) }
    }
}
