/// A 16550 UART that is always ready to send. It receives where it is given an input.
///
/// Output is gathered into lines so that a guest that prints byte by byte does not call the observer for each; a live console gets
/// every byte at once.
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
    private var input: ConsoleInput?
    private let isLive: Bool
    /// The transmitter has become empty and the guest has not been told.
    private var transmitterInterrupt = false

    /// - Parameters:
    ///   - input: where received bytes come from; nil: none ever does.
    ///   - isLive: hands over every byte at once.
    public init(input: ConsoleInput? = nil, isLive: Bool = false) {
        self.input = input
        self.isLive = isLive
    }

    deinit { buffer.deallocate() }

    private var divisorLatch: Bool { lineControl & 0x80 != 0 }

    /// The guest writes register `offset` (0…7).
    public mutating func write(_ offset: UInt16, _ value: UInt8, to observer: any MachineObserver) {
        switch offset {
        case 0 where divisorLatch: divisor = divisor & 0xFF00 | UInt16(value)
        case 0:
            append(value, to: observer)
            transmitterInterrupt = true
        case 1 where divisorLatch: divisor = divisor & 0x00FF | UInt16(value) << 8
        case 1:
            if value & 2 != 0 && interruptEnable & 2 == 0 { transmitterInterrupt = true }
            interruptEnable = value & 0x0F
        case 3: lineControl = value
        case 4: modemControl = value & 0x1F
        case 7: scratch = value
        default: break
        }
    }

    /// The guest reads register `offset` (0…7).
    public mutating func read(_ offset: UInt16) -> UInt8 {
        switch offset {
        case 0: return divisorLatch ? UInt8(truncatingIfNeeded: divisor) : input?.take() ?? 0
        case 1: return divisorLatch ? UInt8(truncatingIfNeeded: divisor >> 8) : interruptEnable
        case 2:
            // IIR: FIFOs on; data received, transmitter empty (told once), or nothing.
            if receiveInterrupt { return 0xC4 }
            guard interruptEnable & 2 != 0, transmitterInterrupt else { return 0xC1 }
            transmitterInterrupt = false
            return 0xC2
        case 3: return lineControl
        case 4: return modemControl
        // LSR: transmitter and holding register empty; bit 0: data received.
        case 5: return 0x60 | (hasInput ? 1 : 0)
        // MSR: carrier detect, data set ready, clear to send.
        case 6: return 0xB0
        default: return scratch
        }
    }

    /// Whether bytes may ever be received.
    public var canReceive: Bool { input != nil }

    private var hasInput: Bool { mutating get { input?.hasByte() ?? false } }

    private var receiveInterrupt: Bool { mutating get { interruptEnable & 1 != 0 && hasInput } }

    /// The level of the port's interrupt line: OUT2 lets it through.
    public var interruptLine: Bool {
        mutating get {
            guard modemControl & 8 != 0 else { return false }
            return (interruptEnable & 2 != 0 && transmitterInterrupt) || receiveInterrupt
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
        if isLive || byte == 0x0A || pending == Self.capacity { flush(to: observer) }
    }
}
