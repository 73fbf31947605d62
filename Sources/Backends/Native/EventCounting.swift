import Glibc
import Host
import Results

/// Whether a native program's events are counted: the backend's option `perfCounters`.
///
/// Counting costs: counters are inherited by forked processes and saved at every context switch (about a tenth on
/// `pipe-pingpong` as measured while this was written), which would flatter the VMs. So by default it is done only where
/// there are hardware events to gain; software events hardly add to what rusage has.
enum EventCounting: String, CaseIterable {
    case automatic = "auto"
    case on
    case off

    static let option = "perfCounters"

    /// - Throws: `TrialFailure` for an option that native does not have or a value it does not know.
    init(options: [String: String]) throws(TrialFailure) {
        if let unknown = options.keys.sorted().first(where: { $0 != Self.option }) {
            throw TrialFailure(
                kind: .invalid, message: "native: there is no option \(unknown); possible: \(Self.option)")
        }
        guard let value = options[Self.option] else {
            self = .automatic
            return
        }
        guard let choice = EventCounting(rawValue: value) else {
            let possible = Self.allCases.map(\.rawValue).joined(separator: ", ")
            throw TrialFailure(
                kind: .invalid, message: "native: \(Self.option)=\(value) is unknown; possible: \(possible)")
        }
        self = choice
    }

    /// Counters of a stopped process, or nil when its events are not to be counted.
    func counters(of process: pid_t) -> PerfCounters? {
        guard self != .off else { return nil }
        let counters = PerfCounters(process: process)
        return self == .on || counters.unavailable["perf.instructions"] == nil ? counters : nil
    }

    /// Why `counters` gave none.
    var absence: String {
        self == .off
            ? "switched off by the option \(Self.option)"
            : "no hardware events here, and counting software events would slow the program (\(Self.option)=on does it)"
    }
}
