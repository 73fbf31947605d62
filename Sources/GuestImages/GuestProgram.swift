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
            name: "sleep",
            summary: "timer accuracy: how much longer a sleep lasts than was asked for",
            operation: "sleep, beyond its length",
            options: [
                "--microseconds T,T…  lengths, each of phases relative-Tus and absolute-Tus (default 100,1000,10000)"
            ]),
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
            name: "queens",
            summary: "the n queens problem by backtracking: branches that are hard to predict",
            operation: "square tried",
            options: ["--size N        queens and side of the board (default 9)"]),
        GuestProgram(
            name: "fourier",
            summary: "fast Fourier transform and its inverse, scalar double precision",
            operation: "butterfly",
            options: ["--points N      length of the transform, rounded down to a power of two (default 4096)"]),
        GuestProgram(
            name: "indirect-call",
            summary: "calls through a table of functions, in an order that depends on data",
            operation: "call",
            options: ["--operations M  calls a round (default 200000)"]),
        GuestProgram(
            name: "strings",
            summary: "memchr, strcmp, strlen and memcpy of the C library on words of a text",
            operation: "word",
            options: ["--operations M  words of the text (default 20000)"]),
        GuestProgram(
            name: "hash",
            summary: "SHA-256 in plain code, no special instructions",
            operation: "block of 64 bytes",
            options: ["--path P        long or short: a million letters a, or abc again and again (default long)"]),
        GuestProgram(
            name: "compress",
            summary: "compression of text by references to what came before, and back",
            operation: "byte",
            options: ["--bytes B       length of the text (default 256K)"]),
        GuestProgram(
            name: "interpreter",
            summary: "an interpreter of bytecode that runs a prime sieve",
            operation: "bytecode instruction",
            options: ["--limit N       primes up to here (default 20000)"]),
        GuestProgram(
            name: "nanobench",
            summary: "single operations of a kernel: call and return, port read; natively what ring 3 can do",
            operation: "operation",
            options: ["--operations M  operations a round (default 16K)"]),
        GuestProgram(
            name: "memory-bandwidth",
            summary: "STREAM triad, a = b + s*c over large arrays",
            operation: "element of 24 bytes moved",
            options: [
                "--bytes B       size of each of the three arrays (default 8M)",
                "--passes P      triads a round (default 2)",
            ]),
        GuestProgram(
            name: "sqlite",
            summary: "SQLite (libsqlite3): insert, index, query and update a table in a file",
            operation: "row inserted or indexed, or statement",
            options: [
                "--rows N        rows of the table (default 10000)",
                "--operations M  statements of the query mix a round (default 2000)",
            ]),
        GuestProgram(
            name: "zstd",
            summary: "Zstandard (libzstd): compression of a corpus, and back",
            operation: "byte of the corpus",
            options: [
                "--bytes B       length of the corpus (default 1M)",
                "--level L       1 to 19 (default 3)",
            ]),
        GuestProgram(
            name: "lz4",
            summary: "LZ4 (liblz4): compression of a corpus, and back",
            operation: "byte of the corpus",
            options: [
                "--bytes B       length of the corpus (default 1M)",
                "--level L       acceleration, 1 to 64 (default 1)",
            ]),
        GuestProgram(
            name: "lua",
            summary: "the Lua 5.4 interpreter (liblua5.4) on classic scripts of the file tree",
            operation: "run of the script",
            options: [
                "--scripts D     folder of the scripts (default /lua; Workloads/Lua has them)",
                "--operations M  runs of a script a round (default 1)",
            ]),
        GuestProgram(
            name: "openssl",
            summary: "OpenSSL (libcrypto): AES-GCM, SHA-256, RSA-2048 and P-256",
            operation: "byte, or public-key operation",
            options: [
                "--bytes B       length of the message encrypted and hashed (default 256K)",
                "--operations M  public-key operations a round (default 8)",
            ]),
        GuestProgram(
            name: "tcc",
            summary: "the Tiny C Compiler (libtcc): compiles a source tree of the file tree",
            operation: "line of source",
            options: [
                "--source D      folder of the tree (default /src)",
                "--units F       list of what to compile (default /units; Workloads/Trees has one)",
                "--include D     folder of the C library's headers (default /usr/include)",
                "--compiler D    folder of the compiler's own files (default /usr/lib/tcc)",
            ]),
        GuestProgram(
            name: "gmp",
            summary: "GMP (libgmp): digits of pi by the Chudnovsky series",
            operation: "decimal digit",
            options: ["--digits N      decimal digits (default 10000)"]),
        GuestProgram(
            name: "spin",
            summary: "arithmetic in registers that touches no memory",
            operation: "iteration",
            options: ["--operations M  iterations a round (default 2000000)"]),
    ]
}
