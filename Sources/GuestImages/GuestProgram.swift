/// A benchmark program that comes with vbench. Its full help is what the program prints for `--help`.
public struct GuestProgram: Sendable, Equatable {
    public var name: String
    /// One line that says what the program measures.
    public var summary: String
    /// What one operation is.
    public var operation: String
    /// Help on its own options, a line each; `commonOptions` come on top.
    public var options: [String]
    /// Timed rounds of each phase where `--rounds` does not say otherwise.
    public var defaultRounds = 10

    /// Help on the options that every program has.
    public var commonOptions: [String] {
        [
            "--rounds N      timed rounds (default \(defaultRounds))",
            "--forever       work until killed, record nothing",
        ]
    }
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
            name: "forkexec",
            summary: "fork or vfork a child that executes this file again and exits at once; wait for it",
            operation: "fork, exec, exit and wait",
            options: ["--operations M  children a round, of each phase: fork, vfork (default 20)"]),
        GuestProgram(
            name: "context-switch",
            summary: "a token through a ring of processes joined by pipes, each with a working set",
            operation: "hop",
            options: [
                "--processes N,N…  rings, each a phase named processes-N; 1 is a pipe without a switch (default 1,2,8,16)",
                "--bytes B         working set of each process, 0 or more (default 0)",
                "--operations M    hops a round, rounded up to whole turns of the ring (default 1000)",
            ]),
        GuestProgram(
            name: "mapping",
            summary: "storms of mmap and munmap, and of mprotect, with and without touching the pages",
            operation: "mapping made and removed, or protection changed",
            options: [
                "--pages P       pages of a mapping, at least 2 (default 16)",
                "--operations M  operations a round, of each phase: map, map-touch, protect, protect-split (default 500)",
            ]),
        GuestProgram(
            name: "signal",
            summary: "install a handler; a signal to oneself; a fault that the handler steps over",
            operation: "signal",
            options: ["--operations M  signals a round, of each phase: install, raise, fault (default 1000)"]),
        GuestProgram(
            name: "page-fault",
            summary: "first stores to pages: in order, in random order, of huge pages, after a fork",
            operation: "page of 4 KiB",
            options: [
                "--operations M  pages a round, of each phase: sequential, random, huge, copy-on-write (default 2048)"
            ]),
        GuestProgram(
            name: "file-tree",
            summary: "create, write, read, stat, rename, list and remove files and directories",
            operation: "file or directory",
            options: [
                "--operations M  files a round (default 100), of each phase: create, write, read, stat, rename, list, unlink, mkdir",
                "--bytes B       size of a file (default 4K)",
                "--directory D   where to make a directory for them, which is removed at the end (default /tmp)",
            ]),
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
            name: "tlb-reach",
            summary: "dependent loads, one a page, over growing numbers of pages: the reach of the TLBs",
            operation: "hop",
            options: [
                "--pages N,N…    pages of 4 KiB, each a phase named pages-N (default 16,64,256,1024,4096,16K)",
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
            summary: "single operations of a kernel, in ring 0 of a guest; natively what ring 3 can do",
            operation: "operation",
            options: [
                "--operations M  operations a round, a multiple of 16 (default: for some 100 us)",
                "--only NAME,... these phases only (see Workloads/README.md)",
            ],
            defaultRounds: 100),
        GuestProgram(
            name: "memory-bandwidth",
            summary: "STREAM's copy, scale, add and triad over large arrays",
            operation: "byte moved",
            options: [
                "--bytes B       size of each of the three arrays (default 8M)",
                "--passes P      passes a round, of each phase: copy, scale, add, triad (default 2)",
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
