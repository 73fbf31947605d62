/// What a program tells Nub of its timed rounds, by Nub's own system call `systemCall`: RDI a mark, RSI the number of the timed
/// phase; for `name` RDX and R10 the address and the length of its name. It returns 0, or the negative of an error number. On any
/// other kernel the number is unknown (ENOSYS).
///
/// Nub passes begin and end on to the VMM by `Port.doorbell`, which charges exits to the phase from then on.
public enum RoundMark: UInt32 {
    /// What the phase is called.
    case name = 0
    /// A round begins when the call returns.
    case begin = 1
    /// A round has ended.
    case end = 2

    /// Beside `Nanobenchmark.systemCall`, where Linux has none.
    public static let systemCall = 510
    /// Phases are numbered from 0 to below this.
    public static let phaseLimit: UInt32 = 256
    /// Longest name in bytes; a longer one is cut.
    public static let nameLimit: UInt64 = 64
}
