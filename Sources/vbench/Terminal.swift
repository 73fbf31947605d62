import Backends
import Glibc

/// Lines for the person at the terminal.
enum Terminal {
    /// Writes a message to standard error.
    static func complain(_ message: String) {
        try? writeAll(Array((message + "\n").utf8), to: 2)
    }
}
