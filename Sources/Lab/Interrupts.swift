import Backends
import CLinux

/// SIGINT, SIGTERM and SIGHUP: the first asks for an orderly end, the second ends at once (children included).
public final class Interrupts {
    /// Never closed: the handler may write at any moment of the process's life.
    private let reading: Int32

    /// Installs the handlers for the rest of the process's life.
    public init() throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        guard clinux_pipe(&ends) == 0 else { throw SystemError("pipe") }
        reading = ends[0]
        clinux_catch_interrupts(ends[1])
    }

    /// Becomes readable at the first signal, and stays so.
    var descriptor: Int32 { reading }

    /// The first signal caught, or nil.
    public var signal: Int32? {
        let number = clinux_interrupted()
        return number == 0 ? nil : number
    }

    /// Lets `body` finish whatever is sent meanwhile: for writing files, which shall be there whole or not at all.
    public static func holding<R>(_ body: () throws -> R) rethrows -> R {
        clinux_hold_interrupts(true)
        defer { clinux_hold_interrupts(false) }
        return try body()
    }
}
