import Backends
import Foundation
import GuestImages
import Results
import Testing

private let guests: [BackendName] = [.kvm, .software]
private let backends: [BackendName] = [.native, .kvm, .software]
private let busybox = "/bin/busybox"
private let hasBusybox = FileManager.default.isExecutableFile(atPath: busybox)

/// One static ELF, one output: what a program does in a guest is what it does natively.
@Suite("The same program natively and in guests", .serialized)
struct EquivalenceTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// What two runs of one program must agree in.
    private struct Outcome: Equatable, CustomStringConvertible {
        var status: TrialStatus
        var output: OutputDigest
        var error: OutputDigest

        init(_ result: TrialResult) {
            status = result.status
            output = result.standardOutput
            error = result.standardError
        }

        var description: String { "\(status)\nstdout \(output)\nstderr \(error)" }
    }

    private func expectSame(
        as guest: BackendName, _ specification: TrialSpecification, _ location: SourceLocation = #_sourceLocation
    ) throws -> (native: TrialResult, guest: TrialResult) {
        let found = try TrialRunner.run(guest, specification)
        let native = try TrialRunner.run(.native, specification)
        #expect(Outcome(found) == Outcome(native), sourceLocation: location)
        return (native, found)
    }

    // MARK: Programs of vbench

    private static let smallArguments: [String: [String]] = [
        "null-syscall": ["--rounds", "2", "--operations", "100"],
        "page-touch": ["--rounds", "2", "--operations", "64"],
        "forkwait": ["--rounds", "2", "--operations", "5"],
        "pipe-pingpong": ["--rounds", "2", "--operations", "20"],
        "compute": ["--rounds", "2", "--operations", "2000"],
        "matmul": ["--rounds", "2", "--size", "64"],
        "pointer-chase": ["--rounds", "2", "--bytes", "16K,256K", "--operations", "5000"],
        "recursive-call": ["--rounds", "2", "--depth", "15"],
        "memory-bandwidth": ["--rounds", "2", "--bytes", "256K"],
        "spin": ["--rounds", "2", "--operations", "10000"],
    ]

    private func specification(of program: String, _ arguments: [String]) throws -> TrialSpecification {
        let path = try #require(try GuestImages.program(named: program))
        var specification = TrialSpecification(
            arguments: ["/bin/\(program)"] + arguments,
            files: [GuestFile(hostPath: path, guestPath: "/bin/\(program)", executable: true)])
        specification.memoryBytes = 64 << 20
        specification.timeLimitSeconds = 60
        return specification
    }

    @Test("every benchmark program", arguments: guests, GuestImages.programs.map(\.name))
    func programs(guest: BackendName, program: String) throws {
        let arguments = try #require(Self.smallArguments[program])
        let (native, found) = try expectSame(as: guest, specification(of: program, arguments))
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

    @Test("a wrong result is a failed trial everywhere", arguments: backends)
    func wrongResult(backend: BackendName) throws {
        let result = try TrialRunner.run(
            backend, specification(of: "spin", ["--rounds", "1", "--operations", "10", "--break-check"]))
        #expect(try result.failure().kind == .wrongResult)
    }

    @Test("SSE2 and AVX2 registers survive the kernel", arguments: guests, ["sse2", "auto"])
    func vectors(guest: BackendName, path: String) throws {
        _ = try expectSame(
            as: guest, specification(of: "matmul", ["--rounds", "3", "--size", "160", "--path", path]))
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
        "busybox works on a file", .enabled(if: hasBusybox, "busybox-static is not installed"), arguments: guests,
        [
            ["sha256sum", "/data"], ["md5sum", "/data"], ["gzip", "-c", "/data"], ["sort", "/data"],
            ["sort", "-rn", "/data"], ["wc", "/data"], ["grep", "-c", "99", "/data"], ["sed", "s/line/LINE/", "/data"],
            ["awk", "{ s += $1 } END { print s, NR }", "/data"], ["ls", "/bin"], ["cat", "/data", "/none"],
            ["bzip2", "-c", "/data"], ["od", "-A", "x", "-t", "x1", "-N", "4096", "/data"],
        ])
    func busyboxTool(guest: BackendName, arguments: [String]) throws {
        _ = try expectSame(as: guest, tool(arguments))
    }

    @Test(
        "a shell with pipes, files, signals and exit codes",
        .enabled(if: hasBusybox, "busybox-static is not installed"),
        arguments: guests,
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
        _ = try expectSame(as: guest, tool(["sh", "-c", script]))
    }

    @Test("standard input", .enabled(if: hasBusybox, "busybox-static is not installed"), arguments: guests)
    func standardInput(guest: BackendName) throws {
        var specification = try tool(["tr", "a-z", "A-Z"])
        specification.files.append(
            GuestFile(hostPath: try folder.file("in", Array("hello\n".utf8)), guestPath: "/.vbench/stdin"))
        let (native, _) = try expectSame(as: guest, specification)
        #expect(native.standardOutput.head == "HELLO\n")
    }

    @Test("much output arrives whole", .enabled(if: hasBusybox, "busybox-static is not installed"), arguments: guests)
    func muchOutput(guest: BackendName) throws {
        let (native, _) = try expectSame(as: guest, tool(["seq", "1", "60000"]))
        #expect(native.standardOutput.bytes == 348_894)
    }

    // MARK: Programs that end badly

    private func raw(_ code: [UInt8]) throws -> TrialSpecification {
        var elf = ElfBytes()
        elf.bytes.replaceSubrange(ElfBytes.codeOffset..<ElfBytes.codeOffset + code.count, with: code)
        var specification = TrialSpecification(
            arguments: ["/raw"],
            files: [GuestFile(hostPath: try folder.file("raw", elf.bytes), guestPath: "/raw", executable: true)])
        specification.memoryBytes = 32 << 20
        specification.timeLimitSeconds = 20
        return specification
    }

    @Test(
        "a program that breaks the rules is ended by the signal Linux would send", arguments: guests,
        [
            ("load from address 0", [0x31, 0xC0, 0x8B, 0x00], 11),
            ("store to its own code", [0x48, 0x8D, 0x05, 0, 0, 0, 0, 0x88, 0x00], 11),
            ("undefined instruction", [0x0F, 0x0B], 4),
            ("division by zero", [0x31, 0xC9, 0xF7, 0xF1], 8),
            ("breakpoint", [0xCC], 5),
            ("privileged instruction", [0xF4], 11),
            ("jump to nowhere", [0x31, 0xC0, 0xFF, 0xE0], 11),
            ("non-canonical address", [0x48, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x8A, 0x00], 11),
            ("port access", [0xE4, 0x80], 11),
            ("kernel address", [0x48, 0xC7, 0xC0, 0, 0, 0, 0x80, 0x8A, 0x00], 11),
        ] as [(String, [UInt8], Int32)])
    func signals(guest: BackendName, program: (name: String, code: [UInt8], signal: Int32)) throws {
        let (native, _) = try expectSame(as: guest, raw(program.code))
        #expect(native.status == .signaled(signal: program.signal), "\(program.name)")
    }

    @Test("a program without libc ends with its own code", arguments: guests)
    func plainExit(guest: BackendName) throws {
        // mov eax, 231 (exit_group); mov edi, 42; syscall
        let (native, _) = try expectSame(as: guest, raw([0xB8, 231, 0, 0, 0, 0xBF, 42, 0, 0, 0, 0x0F, 0x05]))
        #expect(native.status == .exited(code: 42))
    }

    @Test("a system call the guest lacks is ENOSYS, and named", arguments: guests)
    func unknownSystemCall(guest: BackendName) throws {
        // mov eax, 101 (ptrace); syscall; neg eax; mov edi, eax; mov al, 60; syscall
        let result = try TrialRunner.run(
            guest, raw([0xB8, 101, 0, 0, 0, 0x0F, 0x05, 0xF7, 0xD8, 0x89, 0xC7, 0xB0, 60, 0x0F, 0x05]))
        let enosys: Int32 = 38
        #expect(result.status == .exited(code: enosys))
        #expect(result.unknownSystemCalls == ["ptrace": 1])
    }

    @Test("a program that never ends is ended at its time limit", arguments: backends)
    func endless(backend: BackendName) throws {
        var specification = try raw([0xEB, 0xFE])
        specification.timeLimitSeconds = 1
        let result = try TrialRunner.run(backend, specification)
        #expect(try result.failure().kind == .timeout)
        #expect(result.totalNanoseconds < 8e9)
    }

    @Test("a program asleep for ever is ended at its time limit", arguments: backends)
    func asleep(backend: BackendName) throws {
        // mov eax, 34 (pause); syscall; jmp back
        var specification = try raw([0xB8, 34, 0, 0, 0, 0x0F, 0x05, 0xEB, 0xF7])
        specification.timeLimitSeconds = 1
        #expect(try TrialRunner.run(backend, specification).failure().kind == .timeout)
    }

    @Test("a missing program, a corrupt one", arguments: backends)
    func unusable(backend: BackendName) throws {
        var missing = try raw([0xF4])
        missing.arguments = ["/none"]
        #expect(try TrialRunner.run(backend, missing).failure().kind == .invalid)
        var corrupt = try raw([0xF4])
        corrupt.files[0].hostPath = try folder.file("corrupt", Array(ElfBytes().bytes.prefix(100)))
        #expect(try TrialRunner.run(backend, corrupt).failure().kind == .invalid)
    }

    @Test("a guest larger than its memory is refused, and says what it needs", arguments: guests)
    func tooSmall(guest: BackendName) throws {
        let big = try folder.file("big", [UInt8](repeating: 1, count: 40 << 20))
        var specification = try raw([0xF4])
        specification.files.append(GuestFile(hostPath: big, guestPath: "/big"))
        let failure = try TrialRunner.run(guest, specification).failure()
        #expect(failure.kind == .invalid)
        #expect(failure.message.contains("memory"))
    }

    @Test("a program larger than its memory fails alone; the kernel lives on to tell", arguments: guests)
    func outOfMemory(guest: BackendName) throws {
        var specification = try specification(of: "page-touch", ["--rounds", "1", "--operations", "20000"])
        specification.memoryBytes = 32 << 20
        let result = try TrialRunner.run(guest, specification)
        // Linux would refuse the memory (exit code 3 of the program) or kill the process.
        #expect([.exited(code: 3), .signaled(signal: 9)].contains(result.status), "\(result.status)")
        #expect(result.counters["guest.systemCalls"] ?? 0 > 0)
    }
}
