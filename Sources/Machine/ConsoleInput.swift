import Glibc

/// Bytes for the guest's serial port from a descriptor of the host, taken one by one when the guest looks for them.
public struct ConsoleInput: Sendable {
    private let descriptor: Int32
    private var waiting: UInt8?
    private var isAtEnd = false

    /// - Parameter descriptor: stays open as long as this value is used; is not closed.
    public init(descriptor: Int32) { self.descriptor = descriptor }

    /// Whether a byte waits. Never blocks.
    public mutating func hasByte() -> Bool {
        if waiting != nil { return true }
        guard !isAtEnd else { return false }
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, 0) > 0 else { return false }
        var byte: UInt8 = 0
        let count = read(descriptor, &byte, 1)
        if count == 1 {
            waiting = byte
        } else if count == 0 || errno != EINTR && errno != EAGAIN {
            isAtEnd = true
        }
        return waiting != nil
    }

    /// Takes the byte that waits, 0 when none does.
    public mutating func take() -> UInt8 {
        guard hasByte() else { return 0 }
        defer { waiting = nil }
        return waiting ?? 0
    }
}
