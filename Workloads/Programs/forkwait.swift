import Support

typealias Program = ForkWait

/// Fork, exit and wait, one child after another: the paper's forkwait, which lives in the MMU.
struct ForkWait: Workload {
    static var name: StaticString { "forkwait" }
    static var summary: StaticString { "fork a child that exits at once, and wait for it" }
    static var operation: StaticString { "fork, exit and wait" }
    static var options: StaticString { "  --operations M  children a round (default 100)\n" }

    private let children: UInt64
    private var statuses = Checksum()

    init(_ arguments: inout Arguments) {
        children = arguments.number("--operations", default: 100, in: 1...10_000_000)
    }

    mutating func run(phase: Int) -> UInt64 {
        var sum = Checksum()
        for child in 0..<children {
            // The instruction, not libc's fork: no handlers, no locks, only what the kernel does.
            let process = vb_syscall0(Int64(SYS_fork))
            if process == 0 {
                _ = vb_syscall1(Int64(SYS_exit_group), Int64(Self.exitCode(child)))
            }
            guard process > 0 else { systemError("fork", process) }
            var status: Int32 = 0
            let ended = withUnsafeMutablePointer(to: &status) { status in
                vb_syscall4(Int64(SYS_wait4), process, Int64(Int(bitPattern: status)), 0, 0)
            }
            sum.mix(ended == process ? UInt64(UInt32(bitPattern: status)) : .max)
        }
        statuses = sum
        return children
    }

    mutating func outcome(phase: Int) -> Outcome {
        var expected = Checksum()
        // wait4 gives the exit code in bits 8 to 15 (wait(2)).
        for child in 0..<children { expected.mix(Self.exitCode(child) << 8) }
        return Outcome(got: statuses.value, expected: expected.value)
    }

    private static func exitCode(_ child: UInt64) -> UInt64 { (child &* 7 &+ 1) & 0x7F }
}
