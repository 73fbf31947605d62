/// How ring 3 is run: directly by the CPU, where a system call costs a host signal, or translated, where it costs next to
/// nothing but all other code costs a little more.
public enum UserMode: String, Sendable, CaseIterable {
    case direct
    case translate
    /// Each address space begins as the one before it ran, and moves by its rate of system calls.
    case adaptive
}

/// Decides, for each address space, how its ring 3 runs.
///
/// A system call or page fault of directly run code costs some 3,000 cycles more than one of translated code, which is some 5 to
/// 20 % slower otherwise: below 30,000 cycles between them translation wins, above 100,000 it surely does not.
struct UserModePolicy {
    /// Why an address space was moved.
    struct Decision {
        var root: UInt64
        var toTranslation: Bool
        /// Cycles between system calls, as seen in the window that led to it.
        var cyclesPerCall: UInt64

        /// In words, for the report.
        var text: String {
            let manner = toTranslation ? "is translated from here on" : "runs directly from here on"
            let limit = toTranslation ? "below \(translateBelow)" : "above \(directAbove)"
            return
                "ring 3 of address space \(hex(root)) \(manner): \(cyclesPerCall) cycles of its own between system calls or page "
                + "faults, \(limit)"
        }
    }

    private struct Space {
        var isTranslated: Bool
        var windowBegin: UInt64
        /// Of a direct space: calls in the window. Of a translated one: calls of all spaces when the window began.
        var calls: UInt64 = 0
    }

    static let translateBelow: UInt64 = 30_000
    static let directAbove: UInt64 = 100_000
    /// Calls of a direct space before it is judged, and cycles of a translated one.
    private static let windowCalls: UInt64 = 32
    private static let windowCycles: UInt64 = 50_000_000

    /// Time is the guest's own: cycles without what the VMM took for exits.
    let mode: UserMode
    private var spaces: [UInt64: Space] = [:]
    private var current: Space
    private var root: UInt64 = 0
    private(set) var movesToTranslation: UInt64 = 0
    private(set) var movesToDirect: UInt64 = 0
    /// The first decisions, for the report.
    private(set) var decisions: [Decision] = []
    private static let decisionsKept = 16

    init(mode: UserMode) {
        self.mode = mode
        current = Space(isTranslated: mode == .translate, windowBegin: 0)
    }

    /// Whether ring 3 of the current address space is translated.
    var isTranslated: Bool { current.isTranslated }

    /// CR3 was loaded. A window does not go on after another address space has run.
    mutating func enter(root newRoot: UInt64, calls: UInt64, now: UInt64) {
        guard mode == .adaptive, newRoot != root else { return }
        spaces[root] = current
        root = newRoot
        current = spaces[newRoot] ?? Space(isTranslated: current.isTranslated, windowBegin: now)
        current.windowBegin = now
        current.calls = current.isTranslated ? calls : 0
    }

    /// A system call or page fault of directly run ring 3.
    mutating func noteDirectEvent(calls: UInt64, now: UInt64) {
        guard mode == .adaptive, !current.isTranslated else { return }
        current.calls += 1
        guard current.calls >= Self.windowCalls else { return }
        let perCall = (now &- current.windowBegin) / current.calls
        current.windowBegin = now
        current.calls = 0
        if perCall < Self.translateBelow {
            current.calls = calls
            move(toTranslation: true, perCall)
        }
    }

    /// Some exit while ring 3 is translated; all translated code has made `calls` system calls by now.
    mutating func noteTranslated(calls: UInt64, now: UInt64) {
        guard mode == .adaptive, current.isTranslated, now &- current.windowBegin >= Self.windowCycles else { return }
        let perCall = (now &- current.windowBegin) / max(1, calls &- current.calls)
        current.windowBegin = now
        current.calls = calls
        if perCall > Self.directAbove {
            current.calls = 0
            move(toTranslation: false, perCall)
        }
    }

    private mutating func move(toTranslation: Bool, _ perCall: UInt64) {
        current.isTranslated = toTranslation
        if toTranslation { movesToTranslation += 1 } else { movesToDirect += 1 }
        if decisions.count < Self.decisionsKept {
            decisions.append(Decision(root: root, toTranslation: toTranslation, cyclesPerCall: perCall))
        }
    }
}
