import Foundation
import GuestImages
import Testing

/// One native run of a guest program, and what it left.
struct ProgramRun {
    var exitCode: Int32
    var output: String
    var error: String
    /// What it wrote to the file named by VBENCH_RECORDS, nil when it was not asked to.
    var records: String?

    /// Arguments that keep each program's run to a few milliseconds.
    static let smallArguments: [String: [String]] = [
        "null-syscall": ["--rounds", "3", "--operations", "1000"],
        "page-touch": ["--rounds", "3", "--operations", "64"],
        "forkwait": ["--rounds", "3", "--operations", "5"],
        "pipe-pingpong": ["--rounds", "3", "--operations", "50"],
        "forkexec": ["--rounds", "3", "--operations", "3"],
        "context-switch": ["--rounds", "3", "--processes", "1,3", "--bytes", "8K", "--operations", "20"],
        "mapping": ["--rounds", "3", "--operations", "30"],
        "signal": ["--rounds", "3", "--operations", "50"],
        "page-fault": ["--rounds", "3", "--operations", "600"],
        "file-tree": ["--rounds", "3", "--operations", "10"],
        "tlb-reach": ["--rounds", "3", "--pages", "1,100", "--operations", "5000"],
        "sleep": ["--rounds", "3", "--microseconds", "10,200"],
        "compute": ["--rounds", "3", "--operations", "2000"],
        "matmul": ["--rounds", "3", "--size", "40"],
        "pointer-chase": ["--rounds", "3", "--bytes", "16K,64K", "--operations", "5000"],
        "recursive-call": ["--rounds", "3", "--depth", "15"],
        "queens": ["--rounds", "3", "--size", "6"],
        "fourier": ["--rounds", "3", "--points", "256"],
        "indirect-call": ["--rounds", "3", "--operations", "5000"],
        "strings": ["--rounds", "3", "--operations", "500"],
        "hash": ["--rounds", "3", "--path", "short"],
        "compress": ["--rounds", "3", "--bytes", "16K"],
        "interpreter": ["--rounds", "3", "--limit", "500"],
        "nanobench": ["--rounds", "3", "--operations", "160", "--only", "callret"],
        "memory-bandwidth": ["--rounds", "3", "--bytes", "64K"],
        "spin": ["--rounds", "3", "--operations", "10000"],
        "sqlite": ["--rounds", "3", "--rows", "300", "--operations", "250"],
        "zstd": ["--rounds", "3", "--bytes", "64K"],
        "lz4": ["--rounds", "3", "--bytes", "64K"],
        "lua": ["--rounds", "3", "--scripts", workloads.appending(path: "Lua").path],
        "openssl": ["--rounds", "3", "--bytes", "4K", "--operations", "1"],
        "tcc": [
            "--rounds", "3", "--source", "/usr/include/stb", "--units", smallTree,
            "--include", "/usr/include/x86_64-linux-musl", "--compiler", "/usr/lib/x86_64-linux-gnu/tcc",
        ],
        "gmp": ["--rounds", "3", "--digits", "500"],
    ]

    /// Phases with these arguments, where they are not one.
    static let phases = [
        "forkexec": 2, "context-switch": 2, "mapping": 4, "signal": 3, "page-fault": 4, "file-tree": 8, "tlb-reach": 2,
        "sleep": 4, "pointer-chase": 2, "memory-bandwidth": 4, "sqlite": 3, "zstd": 2, "lz4": 2, "lua": 6, "openssl": 7,
    ]

    private static let workloads = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Workloads")

    /// The unit that `tcc` checks by running it, and another.
    private static let smallTree: String = {
        let file = FileManager.default.temporaryDirectory.appending(path: "vbench-test-units")
        let text = "stb_sprintf.h STB_SPRINTF_IMPLEMENTATION\nstb_perlin.h STB_PERLIN_IMPLEMENTATION\n"
        try? Data(text.utf8).write(to: file, options: .atomic)
        return file.path
    }()

    init(_ name: String, _ arguments: [String], recorded: Bool = true) throws {
        let program = try #require(try GuestImages.program(named: name))
        let folder = FileManager.default.temporaryDirectory.appending(path: "vbench-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let recordsFile = folder.appending(path: "records")
        let outputFile = folder.appending(path: "output")
        let errorFile = folder.appending(path: "error")
        for file in [outputFile, errorFile] { try Data().write(to: file) }

        let process = Process()
        process.executableURL = URL(filePath: program)
        process.arguments = arguments
        process.environment = recorded ? ["VBENCH_RECORDS": recordsFile.path] : [:]
        process.standardOutput = try FileHandle(forWritingTo: outputFile)
        process.standardError = try FileHandle(forWritingTo: errorFile)
        try process.run()
        process.waitUntilExit()

        exitCode = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
        output = String(decoding: try Data(contentsOf: outputFile), as: UTF8.self)
        error = String(decoding: try Data(contentsOf: errorFile), as: UTF8.self)
        records = (try? Data(contentsOf: recordsFile)).map { String(decoding: $0, as: UTF8.self) }
    }
}
