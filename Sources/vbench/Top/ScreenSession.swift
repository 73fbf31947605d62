import Backends
import CLinux
import Glibc

/// The terminal taken over for a full-screen view, and given back as it was.
///
/// Signals that end, stop or resize end the wait for a key; the owner gives the terminal back before it lets them act.
final class ScreenSession {
    enum Event: Equatable {
        case key(UInt8)
        case up
        case down
        /// The time is over, or the window has another size.
        case redraw
        /// A signal that is to act now.
        case signal(Int32)
    }

    private var saved = termios()
    private var isActive = false
    private let hasColours: Bool
    private static let signals = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH]
    private var old = sigset_t()
    private let pending: Int32

    /// - Throws: `SystemError` where standard input is no terminal, or its mode cannot be changed.
    init() throws(SystemError) {
        guard tcgetattr(0, &saved) == 0 else { throw SystemError("read the terminal's mode") }
        let refused = getenv("NO_COLOR").map { $0.pointee != 0 } ?? false
        let isDumb = getenv("TERM").map { String(cString: $0) == "dumb" } ?? true
        hasColours = !refused && !isDumb
        pending = clinux_signal_descriptor(Self.signals, Int32(Self.signals.count), &old)
        guard pending >= 0 else { throw SystemError("take signals") }
        do { try begin() } catch {
            close(pending)
            pthread_sigmask(SIG_SETMASK, &old, nil)
            throw error
        }
    }

    deinit {
        end()
        close(pending)
        pthread_sigmask(SIG_SETMASK, &old, nil)
    }

    private func begin() throws(SystemError) {
        var raw = saved
        raw.c_lflag &= ~tcflag_t(ICANON | ECHO)
        guard tcsetattr(0, TCSANOW, &raw) == 0 else { throw SystemError("change the terminal's mode") }
        isActive = true
        // Alternate screen, no cursor (xterm's control sequences, which every terminal of today has).
        write("\u{1B}[?1049h\u{1B}[?25l")
    }

    private func end() {
        guard isActive else { return }
        isActive = false
        write("\u{1B}[?25h\u{1B}[?1049l")
        tcsetattr(0, TCSANOW, &saved)
    }

    /// Columns and rows now.
    var size: (width: Int, height: Int) {
        let (columns, rows) = (Int(clinux_terminal_columns(1)), Int(clinux_terminal_rows(1)))
        return (max(20, columns == 0 ? 80 : columns), max(5, rows == 0 ? 24 : rows))
    }

    /// Shows these lines and nothing else.
    func show(_ lines: [TopScreen.Line]) {
        var text = "\u{1B}[H"
        for (index, line) in lines.enumerated() {
            let code: String? =
                switch line.style {
                case .plain: nil
                case .title: "1"
                case .heading: "7"
                case .chosen: "1"
                }
            if index > 0 { text += "\r\n" }
            // Without colours the chosen line is told by its first column.
            let mark = line.style == .chosen ? ">" + line.text.dropFirst() : line.text[...]
            if hasColours, let code {
                text += "\u{1B}[\(code)m\(mark)\u{1B}[0m"
            } else {
                text += mark
            }
            text += "\u{1B}[K"
        }
        write(text + "\u{1B}[J")
    }

    /// Waits for something to happen, at most until `deadline` (seconds of the monotonic clock).
    func next(until deadline: Double) -> Event {
        var entries = [
            pollfd(fd: 0, events: Int16(POLLIN), revents: 0), pollfd(fd: pending, events: Int16(POLLIN), revents: 0),
        ]
        let left = max(0, deadline - MonotonicClock.now() / 1e9)
        guard poll(&entries, 2, Int32(min(left, 3600) * 1000) + 1) > 0 else { return .redraw }
        if entries[1].revents != 0 {
            let signal = clinux_next_signal(pending)
            return signal == SIGWINCH || signal <= 0 ? .redraw : .signal(signal)
        }
        var bytes = [UInt8](repeating: 0, count: 8)
        let count = read(0, &bytes, bytes.count)
        guard count > 0 else { return .signal(SIGHUP) }
        switch Array(bytes.prefix(count)) {
        case [0x1B, 0x5B, 0x41], [0x1B, 0x4F, 0x41]: return .up
        case [0x1B, 0x5B, 0x42], [0x1B, 0x4F, 0x42]: return .down
        default: return .key(bytes[0])
        }
    }

    /// ^Z: gives the terminal back, stops, and takes it again afterwards.
    func suspend() {
        end()
        kill(getpid(), SIGSTOP)
        try? begin()
    }

    private func write(_ text: String) { try? writeAll(Array(text.utf8), to: 1) }
}
