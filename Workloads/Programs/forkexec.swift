import Support

typealias Program = ForkExec

/// A child that runs this very file anew, with an argument that makes it leave at once: what a shell does for every command.
struct ForkExec: Workload {
    static var name: StaticString { "forkexec" }
    static var summary: StaticString {
        "fork or vfork a child that executes this file again and exits at once; wait for it"
    }
    static var operation: StaticString { "fork, exec, exit and wait" }
    static var options: StaticString { "  --operations M  children a round, of each phase: fork, vfork (default 20)\n" }

    private static let path: StaticString = "/proc/self/exe"
    private static let codes: UInt64 = 128

    private let children: UInt64
    /// A command line for each exit code: three words and the end.
    private let commands: UnsafeMutablePointer<UnsafePointer<CChar>?>
    private let environment: UnsafeMutablePointer<UnsafePointer<CChar>?>
    private var statuses = Checksum()

    init(_ arguments: inout Arguments) {
        // What the child is given; not in the help, as nobody else needs it.
        let code = arguments.number("--leave-with", default: Self.codes, in: 0...Self.codes)
        if code < Self.codes { exit(Int32(code)) }
        children = arguments.number("--operations", default: 20, in: 1...1_000_000)
        commands = .allocate(capacity: Int(Self.codes) * 4)
        environment = .allocate(capacity: 1)
        environment[0] = nil
        for code in 0..<Self.codes {
            var text = Text()
            text.append(code)
            commands[Int(code) * 4] = Self.name.cString
            commands[Int(code) * 4 + 1] = ("--leave-with" as StaticString).cString
            commands[Int(code) * 4 + 2] = text.makeCString()
            commands[Int(code) * 4 + 3] = nil
        }
    }

    var phases: Int { 2 }

    func appendName(ofPhase phase: Int, to text: inout Text) { text.append(phase == 0 ? "fork" : "vfork") }

    mutating func run(phase: Int) -> UInt64 {
        var sum = Checksum()
        for child in 0..<children {
            let command = commands + Int(Self.exitCode(child)) * 4
            let process = vb_fork_exec(
                Int64(phase == 0 ? SYS_fork : SYS_vfork), Self.path.cString, command, environment)
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

    /// Only the program that was to be executed exits with these codes.
    mutating func outcome(phase: Int) -> Outcome {
        var expected = Checksum()
        // wait4 gives the exit code in bits 8 to 15 (wait(2)).
        for child in 0..<children { expected.mix(Self.exitCode(child) << 8) }
        return Outcome(got: statuses.value, expected: expected.value)
    }

    private static func exitCode(_ child: UInt64) -> UInt64 { (child &* 7 &+ 1) % (codes - 1) }
}
