import Backends
import Foundation
import Glibc
import GuestImages
import Host
import Lab
import Results
import Testing

/// Where the VMM's process is not where it is expected without address-space randomization, or there is no way to ask for that, these
/// attacks cannot be made.
private let setarch = "/usr/bin/setarch"

/// A guest program that attacks the software VMM's process from inside (Programs/hostile.c). It may ruin its own trial, and nothing else.
@Suite(
    "A hostile program under the software VMM", .serialized,
    .enabled(if: FileManager.default.isExecutableFile(atPath: setarch), "setarch is not installed"))
struct ContainmentTests {
    private let folder: TemporaryFolder
    private let supervisor = Supervisor(
        // By way of env, which gives setarch its own name: it goes by that.
        launcher: ChildLauncher(
            executable: "/usr/bin/env", arguments: [setarch, "-R", TrialRunner.vbench, TrialChild.subcommand]),
        graceSeconds: 2)

    init() throws { folder = try TemporaryFolder() }

    private static let program = Result { try compile() }

    private static func compile() throws -> Data {
        let tests = URL(filePath: #filePath).deletingLastPathComponent()
        let include = tests.deletingLastPathComponent().deletingLastPathComponent().appending(
            path: "Sources/CLinux/include")
        let output = FileManager.default.temporaryDirectory.appending(path: "hostile-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: output) }
        let paths = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        let compiler = try #require(
            ["clang", "cc"].lazy.flatMap { name in paths.map { "\($0)/\(name)" } }.first {
                FileManager.default.isExecutableFile(atPath: $0)
            }, "no C compiler in PATH")
        let process = Process()
        process.executableURL = URL(filePath: compiler)
        process.arguments = [
            "-O1", "-w", "-static", "-fno-pie", "-no-pie", "-fno-stack-protector", "-D_GNU_SOURCE", "-I", include.path,
            tests.appending(path: "Programs/hostile.c").path, "-o", output.path,
        ]
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "\(compiler) cannot compile hostile.c")
        return try Data(contentsOf: output)
    }

    /// Where the attacks try to leave their mark on the host.
    private var marker: String { folder.url.appending(path: "marker").path }

    private func attack(_ action: String, _ argument: String? = nil, userMode: String = "direct") throws -> TrialResult
    {
        let path = try folder.file("hostile-\(UUID().uuidString)", [UInt8](try Self.program.get()))
        var specification = TrialSpecification(
            arguments: ["/hostile", action, argument ?? marker],
            files: [GuestFile(hostPath: path, guestPath: "/hostile", executable: true)])
        specification.memoryBytes = 32 << 20
        specification.timeLimitSeconds = 5
        specification.options = ["userMode": userMode]
        let result = supervisor.run(.software, specification)
        let needed: Int32 = 2
        #expect(result.status != .exited(code: needed), "\(action) did not find what it attacks")
        #expect(!FileManager.default.fileExists(atPath: marker), "\(action) left its mark on the host")
        return result
    }

    /// The runner goes on: the next trial of the same supervisor is as good as ever.
    private func expectGoodTrial() throws {
        let good = try TrialRunner.specification(of: "spin", ["--rounds", "2", "--operations", "1000"])
        let result = supervisor.run(.software, good)
        #expect(result.status == .exited(code: 0))
        #expect(result.samples.count == 2)
    }

    private func expectKilled(_ result: TrialResult, _ what: String) {
        guard case .failed(let failure) = result.status else {
            Issue.record("\(what) was not stopped: \(result.status)")
            return
        }
        #expect(failure.kind == .childDied)
        #expect(failure.message.contains("SIGSYS"), "\(what): \(failure.message)")
    }

    @Test("wild reads, writes and jumps cost its own trial at most", arguments: ["direct", "translate"])
    func wildPointers(userMode: String) throws {
        for action in ["read", "execute-data", "scribble", "code-cache"] { _ = try attack(action, userMode: userMode) }
        try expectGoodTrial()
    }

    @Test("translated, a jump out of the guest's memory is the program's own fault")
    func translated() throws {
        for action in ["mkdir", "undispatch", "sigreturn", "execute-data"] {
            #expect(try attack(action, userMode: "translate").status == .exited(code: 0), "\(action)")
        }
        #expect(try attack("int80", userMode: "translate").status == .exited(code: 0))
    }

    @Test("the host's files cannot be opened or made by the VMM's own system-call instruction")
    func files() throws {
        #expect(try attack("open").status == .exited(code: 0))
        expectKilled(try attack("mkdir"), "mkdir")
        try expectGoodTrial()
    }

    @Test(
        "processes, sockets and other processes' memory are out of reach",
        arguments: [SystemCall.fork, .execve, .socket, .kill, .ptrace, .processVmReadv, .memfdCreate])
    func calls(call: SystemCall) throws { expectKilled(try attack("call", "\(call.rawValue)"), "\(call)") }

    @Test("with Syscall User Dispatch switched off, and by a sigreturn of its own, it meets the filter")
    func dispatch() throws {
        expectKilled(try attack("undispatch"), "undispatch")
        expectKilled(try attack("sigreturn"), "sigreturn")
        try expectGoodTrial()
    }

    @Test("other ways into a kernel lead to the guest's")
    func otherEntries() throws {
        #expect(try attack("int80").status == .exited(code: 0))
        // AMD does not know the instruction in 64-bit mode; Intel's goes to the host, where the filter kills 32-bit calls.
        _ = try attack("sysenter")
        _ = try attack("vsyscall")
        try expectGoodTrial()
    }

    @Test("the host's memory is not its to take")
    func memory() throws {
        #expect(try attack("memory").status == .exited(code: 0))
        expectKilled(try attack("shared-memory"), "shared memory")
    }

    @Test("what the user had open or in the environment is not there")
    func inheritance() throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        setenv("VBENCH_TEST_SECRET", "for-no-guest", 1)
        defer { unsetenv("VBENCH_TEST_SECRET") }
        let result = try attack("descriptors")
        #expect(result.status == .exited(code: 0), "\(result.standardOutput.head)")
        #expect(try attack("environment", "VBENCH_TEST_SECRET").status == .exited(code: 0))
        // The attack does find what is there.
        #expect(try attack("environment", "TMPDIR=").status == .exited(code: 1))
    }
}
