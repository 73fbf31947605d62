/// A benchmark program that comes with vbench. Its full help is what the program prints for `--help`.
public struct GuestProgram: Sendable, Equatable {
    public var name: String
    /// One line that says what the program measures.
    public var summary: String
    /// What one operation is.
    public var operation: String
    /// Its own options, a line each, beside `commonOptions`.
    public var options: [String]

    /// Options of every program.
    public static let commonOptions = [
        "--rounds N      timed rounds (default 10)",
        "--forever       work until killed, record nothing",
    ]
}

extension GuestImages {
    /// Every benchmark program, in the order lists show them.
    public static let programs: [GuestProgram] = [
        GuestProgram(
            name: "null-syscall",
            summary: "getpid by the syscall instruction: enter the kernel and come back",
            operation: "system call",
            options: ["--operations M  system calls a round (default 20000)"])
    ]
}
