import Foundation
import Testing

@Suite("vbench exits, explain")
struct ReportCommandTests {
    private let scratch = Scratch()

    /// Of native trials only: a ledger and a technique are missing, and both commands have to say so.
    private func report() throws -> String {
        let suite = try scratch.write(
            "s.json",
            """
            {"name": "s", "backends": ["native"], "workloads": [
              {"name": "spin", "program": "spin", "arguments": ["--rounds", "3"], "trials": 2}]}
            """)
        let folder = scratch.path + "/out"
        #expect(try VBenchProcess.run(["run", suite, "--output", folder]).code == 0)
        return folder
    }

    @Test("What is missing is printed, with the reason")
    func missing() throws {
        let folder = try report()
        let exits = try VBenchProcess.run(["exits", folder])
        #expect(exits.code == 0)
        #expect(exits.output.contains("native has no ledger of spin: a native program has no VM exits"))
        let explanation = try VBenchProcess.run(["explain", folder + "/report.json", "spin"])
        #expect(explanation.code == 0)
        #expect(explanation.output.contains("kvm has no time: the report has no such cell."))
        let json = try VBenchProcess.run(["exits", folder, "--json"])
        let document = try #require(
            try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        let cells = try #require(document["cells"] as? [[String: Any]])
        #expect(cells.first?["unavailable"] as? String == "a native program has no VM exits")
    }

    @Test("A name that the report lacks is wrong usage, with a suggestion")
    func unknownNames() throws {
        let folder = try report()
        for arguments in [["explain", folder, "spim"], ["exits", folder, "--workload", "spim"]] {
            let outcome = try VBenchProcess.run(arguments)
            #expect(outcome.code == 64)
            #expect(outcome.errors.contains("no workload \"spim\"; did you mean \"spin\"?"))
        }
        let backend = try VBenchProcess.run(["exits", folder, "--backend", "kvm"])
        #expect(backend.code == 64)
        #expect(backend.errors.contains("no backend \"kvm\"; possible: native"))
        #expect(try VBenchProcess.run(["exits", folder, "--unit", "ms"]).code == 64)
        #expect(try VBenchProcess.run(["explain", folder]).code == 64)
    }

    @Test("What is no report, or not there, is 2", arguments: [["exits"], ["explain"]])
    func unreadable(command: [String]) throws {
        let rest = command == ["explain"] ? ["spin"] : []
        let absent = try VBenchProcess.run(command + [scratch.path + "/none.json"] + rest)
        #expect(absent.code == 2)
        #expect(absent.errors.contains("No such file"))
        let wrong = try VBenchProcess.run(command + [try scratch.write("w.json", "{\"schemaVersion\": 1}")] + rest)
        #expect(wrong.code == 2)
        #expect(wrong.errors.contains("is not a vbench report"))
    }
}
