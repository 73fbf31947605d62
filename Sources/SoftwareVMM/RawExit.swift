import CLinux
import Glibc

/// By what means the guest was left: the raw reasons of this technique in ledgers.
enum RawExit: Int, CaseIterable {
    /// Not left: what precedes the first entry.
    case none
    /// A direct branch to a block that was not linked.
    case chain
    /// An indirect branch that missed the table.
    case indirect
    /// An instruction whose translation calls the VMM.
    case callout
    case kick
    /// A return to ring 3 with something to be done first.
    case toUser
    case sigsys, sigsegv, sigbus, sigill, sigfpe, sigtrap
    /// Code was translated, on the way to a block.
    case translator
    /// The guest runs outside of 64-bit mode, interpreted.
    case interpreter
    /// Carried out by an assembly trampoline; the guest was not left.
    case trampoline

    static let names = allCases.map(\.name)

    /// As reports print it.
    var name: String {
        switch self {
        case .none: "start"
        case .toUser: "to-user"
        case .sigsys, .sigsegv, .sigbus, .sigill, .sigfpe, .sigtrap: "\(self)".uppercased()
        default: "\(self)"
        }
    }

    /// - Parameters:
    ///   - exit: what `vb_sw_enter` returned.
    ///   - signal: of a trap.
    @inline(__always)
    init(exit: Int32, signal: Int32) {
        switch exit {
        case VB_SW_EXIT_CHAIN: self = .chain
        case VB_SW_EXIT_INDIRECT: self = .indirect
        case VB_SW_EXIT_EMULATE: self = .callout
        case VB_SW_EXIT_TO_USER: self = .toUser
        case VB_SW_EXIT_KICK: self = .kick
        default:
            switch signal {
            case SIGSYS: self = .sigsys
            case SIGBUS: self = .sigbus
            case SIGILL: self = .sigill
            case SIGFPE: self = .sigfpe
            case SIGTRAP: self = .sigtrap
            default: self = .sigsegv
            }
        }
    }
}
