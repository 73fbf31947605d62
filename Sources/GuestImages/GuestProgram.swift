/// A benchmark program that comes with vbench. Its full help is what the program prints for `--help`.
public struct GuestProgram: Sendable, Equatable {
    public var name: String
    /// One line that says what the program measures.
    public var summary: String
    /// What one operation is.
    public var operation: String
    /// Help on its own options, a line each; `commonOptions` come on top.
    public var options: [String]

    /// Help on the options of every program.
    public static let commonOptions = [
        "--rounds N      timed rounds (default 10)",
        "--forever       work until killed, record nothing",
    ]
}

extension GuestImages {
    /// Every benchmark program, in the order lists show them. The texts are those of the programs' own `--help`.
    public static let programs: [GuestProgram] = [
        GuestProgram(
            name: "null-syscall",
            summary: "getpid by the syscall instruction: enter the kernel and come back",
            operation: "system call",
            options: ["--operations M  system calls a round (default 20000)"]),
        GuestProgram(
            name: "page-touch",
            summary: "first store to each page of fresh memory: a demand-zero fault a page",
            operation: "page",
            options: ["--operations M  pages a round (default 2048)"]),
        GuestProgram(
            name: "forkwait",
            summary: "fork a child that exits at once, and wait for it",
            operation: "fork, exit and wait",
            options: ["--operations M  children a round (default 100)"]),
        GuestProgram(
            name: "pipe-pingpong",
            summary: "one byte to another process and back through pipes: two context switches",
            operation: "round trip",
            options: ["--operations M  round trips a round (default 1000)"]),
        GuestProgram(
            name: "compute",
            summary: "branchy integer work: prime sieve, quicksort, binary searches, hashing",
            operation: "element",
            options: ["--operations M  elements a round (default 50000)"]),
        GuestProgram(
            name: "matmul",
            summary: "dense matrix product in double precision, SSE2 or AVX2",
            operation: "multiply-add",
            options: [
                "--size N        rows and columns, a multiple of 8 (default 192)",
                "--path P        auto, sse2 or avx2 (default auto: AVX2 where CPU and kernel have it)",
            ]),
        GuestProgram(
            name: "pointer-chase",
            summary: "dependent loads in random order over growing working sets: caches and TLB",
            operation: "hop",
            options: [
                "--bytes B,B…    working sets, each a phase named bytes-B (default 16K,256K,4M,32M)",
                "--operations M  hops a round (default 200000)",
            ]),
        GuestProgram(
            name: "recursive-call",
            summary: "calls and returns: the doubly recursive Fibonacci function",
            operation: "call",
            options: ["--depth N       argument of the function (default 25)"]),
        GuestProgram(
            name: "memory-bandwidth",
            summary: "STREAM triad, a = b + s*c over large arrays",
            operation: "element of 24 bytes moved",
            options: [
                "--bytes B       size of each of the three arrays (default 8M)",
                "--passes P      triads a round (default 2)",
            ]),
        GuestProgram(
            name: "spin",
            summary: "arithmetic in registers that touches no memory",
            operation: "iteration",
            options: ["--operations M  iterations a round (default 2000000)"]),
    ]
}
