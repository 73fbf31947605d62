/// Single operations of the kernel that a program can have timed in ring 0, by Nub's own system call `systemCall`: arguments
/// RDI the raw value, RSI loop iterations (of 16 operations each), RDX where to put a `NanobenchmarkResult`. It returns 0, or the
/// negative of an error number. On any other kernel the number is unknown (ENOSYS).
///
/// Ring 0 runs with interrupts off, so an operation is never interrupted by the guest itself.
public enum Nanobenchmark: UInt32 {
    /// Nothing but the loop that the others are in: its time is taken off theirs.
    case loop = 0
    /// CALL and RET.
    case callReturn = 1
    /// IN from `Port.postCode`, an emulated port with no device behind it.
    case portRead = 2

    /// Linux gives out numbers from below; its own end at 511, where the x32 ABI's begin.
    public static let systemCall = 511
    /// Most iterations of one system call: some seconds even where every instruction of ring 0 is emulated.
    public static let iterationLimit: UInt64 = 1 << 20
}

/// What a nanobenchmark gives.
public struct NanobenchmarkResult: BitwiseCopyable {
    /// TSC cycles of all operations, the loop's included.
    public var cycles: UInt64 = 0
    /// The iterations (`loop`), the calls made (`callReturn`), the last byte read (`portRead`).
    public var check: UInt64 = 0

    public init() {}
}
