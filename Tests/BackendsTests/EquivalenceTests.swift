import Backends
import Foundation
import GuestImages
import Results
import Testing

private let busybox = "/bin/busybox"
private let hasBusybox = FileManager.default.isExecutableFile(atPath: busybox)

/// One static ELF, one output: what a program does in a guest is what it does natively.
@Suite("The same program natively and in guests", .serialized)
struct EquivalenceTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    // MARK: Programs of vbench

    private static let smallArguments: [String: [String]] = [
        "null-syscall": ["--rounds", "2", "--operations", "100"],
        "page-touch": ["--rounds", "2", "--operations", "64"],
        "forkwait": ["--rounds", "2", "--operations", "5"],
        "pipe-pingpong": ["--rounds", "2", "--operations", "20"],
        "forkexec": ["--rounds", "2", "--operations", "2"],
        "context-switch": ["--rounds", "2", "--processes", "1,3", "--bytes", "8K", "--operations", "10"],
        "mapping": ["--rounds", "2", "--pages", "4", "--operations", "8"],
        "signal": ["--rounds", "2", "--operations", "5"],
        "page-fault": ["--rounds", "2", "--operations", "20"],
        "file-tree": ["--rounds", "2", "--operations", "5"],
        "tlb-reach": ["--rounds", "2", "--pages", "1,100", "--operations", "5000"],
        "sleep": ["--rounds", "2", "--microseconds", "100,15000"],
        "compute": ["--rounds", "2", "--operations", "2000"],
        "matmul": ["--rounds", "2", "--size", "64"],
        "pointer-chase": ["--rounds", "2", "--bytes", "16K,256K", "--operations", "5000"],
        "recursive-call": ["--rounds", "2", "--depth", "15"],
        "queens": ["--rounds", "2", "--size", "6"],
        "fourier": ["--rounds", "2", "--points", "256"],
        "indirect-call": ["--rounds", "2", "--operations", "5000"],
        "strings": ["--rounds", "2", "--operations", "500"],
        "hash": ["--rounds", "2", "--path", "short"],
        "compress": ["--rounds", "2", "--bytes", "16K"],
        "interpreter": ["--rounds", "2", "--limit", "500"],
        "memory-bandwidth": ["--rounds", "2", "--bytes", "256K"],
        "spin": ["--rounds", "2", "--operations", "10000"],
        "sqlite": ["--rounds", "2", "--rows", "200", "--operations", "150"],
        "zstd": ["--rounds", "2", "--bytes", "64K"],
        "lz4": ["--rounds", "2", "--bytes", "64K"],
        "lua": ["--rounds", "1"],
        "openssl": ["--rounds", "2", "--bytes", "4K", "--operations", "1"],
        "tcc": ["--rounds", "1"],
        "gmp": ["--rounds", "2", "--digits", "500"],
    ]

    /// What programs find in their tree, besides themselves.
    private func files(for program: String) throws -> [GuestFile] {
        switch program {
        case "lua":
            let workloads = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent().appending(path: "Workloads")
            return try HostTree.entries(host: workloads.path + "/Lua", guest: "/lua")
        case "tcc":
            let units = "stb_sprintf.h STB_SPRINTF_IMPLEMENTATION\nstb_perlin.h STB_PERLIN_IMPLEMENTATION\n"
            return try HostTree.entries(host: folder.file("units", Array(units.utf8)), guest: "/units")
                + HostTree.entries(host: "/usr/include/stb/stb_sprintf.h", guest: "/src/stb_sprintf.h")
                + HostTree.entries(host: "/usr/include/stb/stb_perlin.h", guest: "/src/stb_perlin.h")
                + HostTree.entries(host: "/usr/include/x86_64-linux-musl", guest: "/usr/include")
                + HostTree.entries(host: "/usr/lib/x86_64-linux-gnu/tcc", guest: "/usr/lib/tcc")
        default: return []
        }
    }

    /// `nanobench` does more in a guest than natively (NanobenchmarkTests).
    private static let comparablePrograms = GuestImages.programs.map(\.name).filter { $0 != "nanobench" }

    @Test("every benchmark program", arguments: TrialRunner.guests, comparablePrograms)
    func programs(guest: BackendName, program: String) throws {
        let arguments = try #require(Self.smallArguments[program])
        var specification = try TrialRunner.specification(of: program, arguments)
        specification.files += try files(for: program)
        let (native, found) = try TrialRunner.expectSame(as: guest, specification)
        #expect(native.status == .exited(code: 0))
        #expect(found.samples.map(\.phase) == native.samples.map(\.phase))
        #expect(found.samples.map(\.operations) == native.samples.map(\.operations))
        #expect(found.samples.allSatisfy { $0.nanoseconds > 0 })
        #expect(found.programNanoseconds ?? 0 > 0)
        #expect(found.bootNanoseconds ?? 0 > 0)
        #expect(found.exits?.isEmpty == false)
        #expect(found.counters["guest.systemCalls"] ?? 0 > 0)
        #expect(found.unknownSystemCalls == [:])
    }

    @Test("a wrong result is a failed trial everywhere", arguments: TrialRunner.backends)
    func wrongResult(backend: BackendName) throws {
        let result = try TrialRunner.run(
            backend, TrialRunner.specification(of: "spin", ["--rounds", "1", "--operations", "10", "--break-check"]))
        #expect(try result.failure().kind == .wrongResult)
    }

    @Test("SSE2 and AVX2 registers survive the kernel", arguments: TrialRunner.guests, ["sse2", "auto"])
    func vectors(guest: BackendName, path: String) throws {
        _ = try TrialRunner.expectSame(
            as: guest, TrialRunner.specification(of: "matmul", ["--rounds", "3", "--size", "160", "--path", path]))
    }

    // MARK: A program nobody here wrote

    /// Lines in no order, the same every time.
    private func data() throws -> String {
        var state: UInt64 = 88_172_645_463_325_252
        var text = ""
        for _ in 0..<8000 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            text += "\(state % 1000) line \(state)\n"
        }
        return try folder.file("data", Array(text.utf8))
    }

    private func tool(_ arguments: [String]) throws -> TrialSpecification {
        var specification = TrialSpecification(
            arguments: [busybox] + arguments,
            files: [
                GuestFile(hostPath: busybox, guestPath: busybox, executable: true),
                GuestFile(hostPath: try data(), guestPath: "/data"),
            ])
        specification.environment = ["PATH=/bin", "LC_ALL=C"]
        specification.timeLimitSeconds = 60
        return specification
    }

    @Test(
        "busybox works on a file", .enabled(if: hasBusybox, "busybox-static is not installed"),
        arguments: TrialRunner.guests,
        [
            ["sha256sum", "/data"], ["md5sum", "/data"], ["gzip", "-c", "/data"], ["sort", "/data"],
            ["sort", "-rn", "/data"], ["wc", "/data"], ["grep", "-c", "99", "/data"], ["sed", "s/line/LINE/", "/data"],
            ["awk", "{ s += $1 } END { print s, NR }", "/data"], ["ls", "/bin"], ["cat", "/data", "/none"],
            ["bzip2", "-c", "/data"], ["od", "-A", "x", "-t", "x1", "-N", "4096", "/data"],
        ])
    func busyboxTool(guest: BackendName, arguments: [String]) throws {
        _ = try TrialRunner.expectSame(as: guest, tool(arguments))
    }

    @Test(
        "a shell with pipes, files, signals and exit codes",
        .enabled(if: hasBusybox, "busybox-static is not installed"),
        arguments: TrialRunner.guests,
        [
            "echo out; echo err >&2; exit 7",
            "/bin/busybox cat /data | /bin/busybox sort | /bin/busybox sha256sum",
            "cd /tmp; /bin/busybox sort /data > s; /bin/busybox wc -l s; /bin/busybox rm s; /bin/busybox ls",
            "i=0; while [ $i -lt 300 ]; do i=$((i+1)); done; echo $i",
            "/bin/busybox false || echo no; /bin/busybox true && echo yes",
            "(exit 3); echo $?; /none; echo $?",
            "for f in 1 2 3; do /bin/busybox sh -c \"exit $f\" & wait $!; echo $?; done",
            "cd /tmp; /bin/busybox mkdir -p a/b; echo x > a/b/c; /bin/busybox mv a/b/c a/d; /bin/busybox cat a/d",
            "x=$(/bin/busybox head -n 3 /data); echo \"$x\" | /bin/busybox wc -l",
            "kill -TERM $$; echo not reached",
            "trap 'echo trapped' USR1; kill -USR1 $$; echo after",
        ])
    func shell(guest: BackendName, script: String) throws {
        _ = try TrialRunner.expectSame(as: guest, tool(["sh", "-c", script]))
    }

    @Test("standard input", .enabled(if: hasBusybox, "busybox-static is not installed"), arguments: TrialRunner.guests)
    func standardInput(guest: BackendName) throws {
        var specification = try tool(["tr", "a-z", "A-Z"])
        specification.files.append(
            GuestFile(hostPath: try folder.file("in", Array("hello\n".utf8)), guestPath: "/.vbench/stdin"))
        let (native, _) = try TrialRunner.expectSame(as: guest, specification)
        #expect(native.standardOutput.head == "HELLO\n")
    }

    @Test(
        "much output arrives whole", .enabled(if: hasBusybox, "busybox-static is not installed"),
        arguments: TrialRunner.guests)
    func muchOutput(guest: BackendName) throws {
        let (native, _) = try TrialRunner.expectSame(as: guest, tool(["seq", "1", "60000"]))
        #expect(native.standardOutput.bytes == 348_894)
    }

    @Test(
        "records that make no sense fail the trial", .enabled(if: hasBusybox, "busybox-static is not installed"),
        arguments: TrialRunner.backends)
    func garbageRecords(backend: BackendName) throws {
        let result = try TrialRunner.run(backend, tool(["sh", "-c", "echo nonsense > $VBENCH_RECORDS"]))
        #expect(try result.failure().kind == .wrongResult)
    }
}
