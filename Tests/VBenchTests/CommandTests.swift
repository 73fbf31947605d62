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
