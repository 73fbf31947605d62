import Backends
import CLinux
import Glibc

/// Lines for the person at the terminal.
enum Terminal {
    /// Columns of the terminal that standard output is; 80 elsewhere, so that logs look the same everywhere.
    static var width: Int {
        let columns = Int(clinux_terminal_columns(1))
        return columns == 0 ? 80 : max(60, columns)
    }

    /// Whether standard output is a pipe that no one reads any more.
    static var outputIsClosed: Bool {
        var entry = pollfd(fd: 1, events: Int16(POLLOUT), revents: 0)
        return poll(&entry, 1, 0) > 0 && entry.revents & Int16(POLLERR) != 0
    }

    /// Writes a message to standard error.
    static func complain(_ message: String) {
        try? writeAll(Array((message + "\n").utf8), to: 2)
    }

    /// Prints a name and its text, wrapped beside it.
    static func printEntry(_ name: String, _ text: String, nameWidth: Int = 18) {
        var line = "  " + name + String(repeating: " ", count: max(1, nameWidth - name.count))
        let indent = String(repeating: " ", count: nameWidth + 2)
        var isEmpty = true
        for word in text.split(separator: " ") {
            if !isEmpty && line.count + 1 + word.count > width {
                print(line)
                line = indent
                isEmpty = true
            }
            line += (isEmpty ? "" : " ") + word
            isEmpty = false
        }
        print(line)
    }
}
