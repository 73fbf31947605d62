import Support

typealias Program = NullSystemCall

/// The cheapest system call, by instruction: what it costs to enter the kernel and come back.
struct NullSystemCall: Workload {
    static var name: StaticString { "null-syscall" }
    static var summary: StaticString { "getpid by the syscall instruction: enter the kernel and come back" }
    static var operation: StaticString { "system call" }
    static var options: StaticString { "  --operations M  system calls a round (default 20000)\n" }

    private let operations: UInt64
    private let processID: Int64
    private var rightAnswers: UInt64 = 0

    init(_ arguments: inout Arguments) {
        operations = arguments.number("--operations", default: 20_000, in: 1...1_000_000_000)
        processID = Int64(getpid())
    }

    mutating func run(phase: Int) -> UInt64 {
        var right: UInt64 = 0
        for _ in 0..<operations where vb_syscall0(Int64(SYS_getpid)) == processID { right &+= 1 }
        rightAnswers = right
        return operations
    }

    mutating func outcome(phase: Int) -> Outcome { Outcome(got: rightAnswers, expected: operations) }
}
