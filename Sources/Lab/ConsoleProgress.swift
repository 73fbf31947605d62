import Backends
import CLinux
import Glibc
import Results

/// Progress on standard error: one line that renews itself on a terminal, plain lines elsewhere (pipes, CI, dumb terminals).
public final class ConsoleProgress: RunProgress {
    private let isTerminal: Bool
    private let usesColour: Bool
    private let begin = MonotonicClock.now()
    private var total = 0
    private var number = 0
    private var title = ""
    private var failed = 0
    private var remaining: (seconds: Double, at: Double)?
    private var lastDrawn = 0.0
    private var lineIsDrawn = false

    public init() {
        func isSet(_ name: String) -> Bool { getenv(name).map { $0.pointee != 0 } ?? false }
        let isDumb = getenv("TERM").map { String(cString: $0) == "dumb" } ?? false
        isTerminal = clinux_terminal_columns(2) > 0 && !isDumb && !isSet("CI")
        usesColour = isTerminal && !isSet("NO_COLOR")
    }

    public func began(total: Int) { self.total = total }

    public func started(_ title: String, number: Int) {
        self.title = title
        self.number = number
        draw()
    }

    public func tick() {
        if MonotonicClock.now() - lastDrawn > 0.5e9 { draw() }
    }

    public func finished(_ title: String, number: Int, result: TrialResult, remainingSeconds: Double?) {
        remaining = remainingSeconds.map { ($0, MonotonicClock.now()) }
        if case .failed(let failure) = result.status {
            failed += 1
            line("\(colour("31", "failed")): \(title): \(failure.message)")
            for detail in failure.diagnosis.prefix(6) { line("        \(detail)") }
        } else if !isTerminal {
            let time = result.programNanoseconds ?? result.totalNanoseconds
            line("[\(number + 1)/\(total)] \(title): \(Self.seconds(time / 1e9))")
        }
    }

    public func note(_ text: String) { line(text) }

    public func ended() { clear() }

    // MARK: Drawing

    /// A line that stays.
    private func line(_ text: String) {
        clear()
        write(text + "\n")
    }

    private func clear() {
        if lineIsDrawn { write("\r\u{1B}[2K") }
        lineIsDrawn = false
    }

    /// `[ 12/120] 1:04, about 2:10 left   matmul on kvm`
    private func draw() {
        guard isTerminal else { return }
        let now = MonotonicClock.now()
        lastDrawn = now
        let width = "\(total)".count
        let count = "\(number + 1)"
        var text = "[" + String(repeating: " ", count: max(0, width - count.count)) + "\(count)/\(total)] "
        text += Self.clock((now - begin) / 1e9)
        if let remaining {
            text += ", about \(Self.clock(max(0, remaining.seconds - (now - remaining.at) / 1e9))) left"
        }
        if failed > 0 { text += ", \(failed) failed" }
        text += "  \(title)"
        let columns = max(20, Int(clinux_terminal_columns(2)))
        if text.count >= columns { text = text.prefix(columns - 2) + "…" }
        write("\r\u{1B}[2K" + text)
        lineIsDrawn = true
    }

    private func colour(_ code: String, _ text: String) -> String {
        usesColour ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }

    private func write(_ text: String) { try? writeAll(Array(text.utf8), to: 2) }

    /// `1:04`, or `1:02:03` from an hour on.
    static func clock(_ seconds: Double) -> String {
        let whole = Int(seconds.rounded())
        func pad(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let minutes = whole / 60
        return minutes < 60
            ? "\(minutes):\(pad(whole % 60))" : "\(minutes / 60):\(pad(minutes % 60)):\(pad(whole % 60))"
    }

    /// Seconds with three decimals.
    private static func seconds(_ value: Double) -> String {
        let thousandths = Int((value * 1000).rounded())
        let fraction = "\(thousandths % 1000)"
        return "\(thousandths / 1000)." + String(repeating: "0", count: 3 - fraction.count) + fraction + " s"
    }
}
