import Backends
import CLinux

/// SIGINT, SIGTERM and SIGHUP: the first asks for an orderly end, the second ends at once (children included).
public final class Interrupts {
    private let pipe: Pipe

    /// Installs the handlers for the rest of the process's life.
    public init() throws(SystemError) {
        pipe = try Pipe()
        pipe.writing.setNonBlocking()
        clinux_catch_interrupts(pipe.writing.number)
    }

    /// Becomes readable at the first signal, and stays so.
    var descriptor: Int32 { pipe.reading.number }

    /// The first signal caught, or nil.
    public var signal: Int32? {
        let number = clinux_interrupted()
        return number == 0 ? nil : number
    }
}
