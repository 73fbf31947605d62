import Foundation
import Testing

@Suite("vbench compare, list, help")
struct CommandTests {
    private let scratch = Scratch()

    @Test("compare: wrong usage and unreadable reports are 2, never a verdict")
    func compareUnusable() throws {
        #expect(try VBenchProcess.run(["compare"]).code == 2)
        #expect(try VBenchProcess.run(["compare", "a", "b", "--max-regression", "-5%"]).code == 2)
        #expect(try VBenchProcess.run(["compare", scratch.path + "/none", scratch.path + "/none"]).code == 2)
        let wrong = try scratch.write("report.json", "{\"schemaVersion\": 1}")
        #expect(try VBenchProcess.run(["compare", wrong, wrong]).code == 2)
        #expect(try VBenchProcess.run(["compare", "--help"]).code == 0)
    }

    @Test("compare: a report does not regress against itself, and JSON says so")
    func compareSame() throws {
        let suite = try scratch.write(
            "s.json",
            """
            {"name": "s", "backends": ["native"], "workloads": [
              {"name": "spin", "program": "spin", "arguments": ["--rounds", "3"], "trials": 6}]}
            """)
        #expect(try VBenchProcess.run(["run", suite, "--output", scratch.path + "/out"]).code == 0)
        let folder = scratch.path + "/out"
        // Wide enough a limit for whatever else this host is doing.
        let outcome = try VBenchProcess.run([
            "compare", folder, folder + "/report.json", "--max-regression", "100000%", "--json",
        ])
        #expect(outcome.code == 0, "\(outcome.output)")
        let json = try #require(
            try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any])
        #expect(json["outcome"] as? String == "passed")
    }

    @Test("list names every program and backend, also as JSON")
    func list() throws {
        let text = try VBenchProcess.run(["list"])
        #expect(text.code == 0)
        for name in ["native", "kvm", "forkwait", "pointer-chase"] { #expect(text.output.contains(name)) }
        let json = try VBenchProcess.run(["list", "--json"])
        #expect((try JSONSerialization.jsonObject(with: Data(json.output.utf8))) is [String: Any])
    }

    @Test("list tells why QEMU cannot be used: the command is missing, it fails, or KVM gives its guest up")
    func qemuFailures() throws {
        let missing = try qemuReason()
        #expect(missing.contains("qemu-system-x86_64 is not in PATH"), "\(missing)")
        guard access("/dev/kvm", R_OK | W_OK) == 0 else { try Test.cancel("there is no usable /dev/kvm here") }
        let failing = try qemuReason(qemu: "echo 'failed to set MSR 0x10a' >&2; exit 1")
        #expect(failing.contains("QEMU ended with code 1: failed to set MSR 0x10a"), "\(failing)")
        // It stays, as QEMU does: the reason is its message, not the time limit.
        let stopped = try qemuReason(qemu: "echo 'KVM internal error. Suberror: 1' >&2; exec sleep 60")
        #expect(stopped.contains("QEMU stopped the guest: KVM internal error. Suberror: 1"), "\(stopped)")
    }

    /// Why qemu-kvm is unavailable, with this script as the only program in PATH.
    private func qemuReason(qemu script: String? = nil) throws -> String {
        if let script {
            let path = try scratch.write("qemu-system-x86_64", "#!/bin/sh\n\(script)\n")
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        }
        let outcome = try VBenchProcess.run(["list", "--json"], environment: ["PATH": scratch.path])
        let listing = try JSONDecoder().decode(Listing.self, from: Data(outcome.output.utf8))
        return try #require(listing.backends.first { $0.name == "qemu-kvm" }?.reason)
    }

    private struct Listing: Decodable {
        struct Backend: Decodable {
            var name: String
            var reason: String?
        }
        var backends: [Backend]
    }

    @Test(
        "Help has examples, and the inner command stays hidden",
        arguments: ["run", "exec", "boot", "compare", "exits", "explain", "validate", "list"])
    func help(command: String) throws {
        let outcome = try VBenchProcess.run([command, "--help"])
        #expect(outcome.code == 0)
        #expect(outcome.output.contains("Examples:"))
        #expect(!(try VBenchProcess.run(["--help"]).output.contains("trial-child")))
    }

    @Test("The inner command does nothing for a person who finds it")
    func trialChild() throws {
        #expect(try VBenchProcess.run(["trial-child"]).code == 64)
    }
}
