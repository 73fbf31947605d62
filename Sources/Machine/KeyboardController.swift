/// An 8042 keyboard controller without a keyboard (IBM PS/2 Hardware Interface Technical Reference): self-test, A20 and reset, which is
/// what kernels use it for.
public struct KeyboardController: Sendable {
    private var output: UInt8?
    private var configuration: UInt8 = 0x45
    private var outputPort: UInt8 = 0xDF
    /// Command whose data byte comes next.
    private var pendingCommand: UInt8 = 0

    public init() {}

    public mutating func read(_ port: UInt16) -> UInt8 {
        if port == 0x64 {
            // System flag, not inhibited; bit 0: a byte waits.
            return 0x14 | (output == nil ? 0 : 1)
        }
        defer { output = nil }
        return output ?? 0
    }

    /// Returns true when the guest resets its machine.
    public mutating func write(_ port: UInt16, _ value: UInt8) -> Bool {
        guard port == 0x64 else { return writeData(value) }
        pendingCommand = 0
        switch value {
        case 0x20: output = configuration
        case 0x60, 0xD1: pendingCommand = value
        case 0xAA: output = 0x55
        case 0xAB: output = 0
        case 0xD0: output = outputPort
        // Pulse output bits; bit 0, active low, is the reset line.
        case 0xF0...0xFF: return value & 1 == 0
        default: break
        }
        return false
    }

    private mutating func writeData(_ value: UInt8) -> Bool {
        defer { pendingCommand = 0 }
        switch pendingCommand {
        case 0x60: configuration = value
        case 0xD1:
            outputPort = value
            return value & 1 == 0
        // A byte for the keyboard: none is there to acknowledge it.
        default: break
        }
        return false
    }
}
