import Host
import Report
import Results

/// One trial's figures as text, for `vbench exec --exits`.
enum TrialSummary {
    static func text(_ result: TrialResult, program: String, backend: String) -> String {
        var lines: [String] = []
        if let boot = result.bootNanoseconds { lines.append("boot     \(milliseconds(boot))") }
        if let program = result.programNanoseconds { lines.append("program  \(milliseconds(program))") }
        lines.append("total    \(milliseconds(result.totalNanoseconds))")
        for sample in result.samples {
            let each = sample.operations > 0 ? sample.nanoseconds / Double(sample.operations) : sample.nanoseconds
            lines.append(
                "sample   \(sample.phase): \(sample.operations) operations in \(milliseconds(sample.nanoseconds)), "
                    + "\(decimal(each, 1)) ns each")
        }
        let listing = LedgerListing(
            result, workload: program, backend: backend, tscHertz: Double(TimestampCounter.hertz))
        lines.append("")
        for grouping in [LedgerTable.Grouping.phase, .function] where grouping == .phase || result.exitSites != nil {
            lines += LedgerTable.text(listing, by: grouping).split(separator: "\n", omittingEmptySubsequences: false)
                .map(String.init)
        }
        // Interfaces such as KVM's statistics name dozens of things that did not happen.
        for (name, value) in result.counters.sorted(by: { $0.key < $1.key }) where value != 0 {
            lines.append(pad(name, 36) + " " + (value == value.rounded() ? decimal(value, 0) : decimal(value, 6)))
        }
        for (name, reason) in result.countersUnavailable.sorted(by: { $0.key < $1.key }) {
            lines.append(pad(name, 36) + " none: " + reason)
        }
        for decision in result.decisions ?? [] { Terminal.complain("decided  \(decision)") }
        for (name, count) in result.unknownSystemCalls.sorted(by: { $0.key < $1.key }) {
            lines.append(pad("unknown system call \(name)", 36) + " \(count)")
        }
        return lines.joined(separator: "\n")
    }

    private static func milliseconds(_ nanoseconds: Double) -> String { decimal(nanoseconds / 1e6, 3) + " ms" }

    private static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    private static func padLeft(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(1, width - text.count)) + text
    }

    /// Fixed-point notation.
    private static func decimal(_ value: Double, _ places: Int) -> String {
        guard value.magnitude < 1e15 else { return "\(value)" }
        var scale = 1
        for _ in 0..<places { scale *= 10 }
        let scaled = Int((value * Double(scale)).rounded())
        guard places > 0 else { return "\(scaled)" }
        let fraction = "\(abs(scaled) % scale)"
        return (scaled < 0 ? "-" : "") + "\(abs(scaled) / scale)."
            + String(repeating: "0", count: places - fraction.count) + fraction
    }
}
