import Foundation
import GuestImages
import Testing

@Suite("Benchmark programs, run natively")
struct ProgramsTests {
    static let names = GuestImages.programs.map(\.name)

    private func small(_ name: String) throws -> [String] { try #require(ProgramRun.smallArguments[name]) }

    @Test("computes the right result, records every round and says so", arguments: names)
    func rightResult(name: String) throws {
        let run = try ProgramRun(name, small(name))
        #expect(run.exitCode == 0)
        #expect(run.error == "")
        // What nanobench does depends on the machine.
        #expect(run.output.hasPrefix("\(name): 3 rounds, " + (name == "nanobench" ? "check ok" : "checksum 0x")))
        #expect(run.output.hasSuffix(", check ok\n"))

        let lines = try #require(run.records).split(separator: "\n").map(String.init)
        let rounds = lines.filter { $0.hasPrefix("round ") }
        #expect(rounds.count == 3 * (ProgramRun.phases[name] ?? 1))
        for round in rounds {
            let words = round.split(separator: " ")
            try #require(words.count == 4)
            #expect(words[1].hasPrefix("phase="))
            #expect(try #require(UInt64(words[2].dropFirst("cycles=".count))) > 0)
            #expect(try #require(UInt64(words[3].dropFirst("operations=".count))) > 0)
        }
        #expect(lines.last == "check ok")
    }

    @Test("a wrong result is exit code 1, a record and a message", arguments: names)
    func wrongResult(name: String) throws {
        let run = try ProgramRun(name, small(name) + ["--break-check"])
        #expect(run.exitCode == 1)
        #expect(run.output.hasSuffix(", check failed\n"))
        #expect(run.error.contains("wrong result"))
        let last = try #require(run.records?.split(separator: "\n").last)
        #expect(last.wholeMatch(of: /check failed expected=0x[0-9a-f]{16} got=0x[0-9a-f]{16}/) != nil)
    }

    @Test("output is the same from run to run when times go elsewhere", arguments: names)
    func sameOutput(name: String) throws {
        let first = try ProgramRun(name, small(name))
        let second = try ProgramRun(name, small(name))
        #expect(first.output == second.output)
    }

    @Test("without VBENCH_RECORDS a person gets the times", arguments: names)
    func summary(name: String) throws {
        let run = try ProgramRun(name, small(name), recorded: false)
        #expect(run.exitCode == 0)
        #expect(run.output.contains(" ns per "))
        #expect(run.records == nil)
    }

    @Test("what vbench lists is what the program's own help says", arguments: GuestImages.programs)
    func help(program: GuestProgram) throws {
        let run = try ProgramRun(program.name, ["--help"])
        #expect(run.exitCode == 0)
        #expect(run.output.hasPrefix("\(program.name): \(program.summary)\n"))
        #expect(run.output.contains("One operation: \(program.operation).\n"))
        let options = (program.options + program.commonOptions).map { "  \($0)\n" }.joined()
        #expect(run.output.contains("K, M, G):\n\(options)\nExit code"))
    }

    @Test(
        "unusable arguments are exit code 2 and a reason",
        arguments: [
            ["--bogus"], ["--rounds"], ["--rounds", "0"], ["--rounds", "x"], ["--rounds=99999999999999999999"],
            ["--operations", "-1"], ["--operations=1T"], ["stray"],
        ])
    func badArguments(arguments: [String]) throws {
        let run = try ProgramRun("null-syscall", arguments)
        #expect(run.exitCode == 2)
        #expect(run.error.hasPrefix("null-syscall: "))
        #expect(run.output == "")
        #expect(run.records == nil)
    }

    @Test(
        "unusable choices of nanobenchmarks are exit code 2 and a reason",
        arguments: [["--only", "none"], ["--only", ""], ["--only", "callret,"], ["--operations", "100"]])
    func badNanobenchmarks(arguments: [String]) throws {
        let run = try ProgramRun("nanobench", arguments)
        #expect(run.exitCode == 2)
        #expect(run.error.hasPrefix("nanobench: "))
    }

    @Test("nanobenchmarks measure what ring 3 can, in the order asked for, and say what it cannot")
    func nanobenchmarks() throws {
        let run = try ProgramRun(
            "nanobench", ["--rounds", "2", "--operations", "32", "--only", "divzero,in,callret,context-switch"])
        let lines = try #require(run.records).split(separator: "\n")
        let rounds = lines.filter { $0.hasPrefix("round ") }.map { $0.split(separator: " ")[1].dropFirst(6) }
        #expect(rounds == ["divzero", "divzero", "callret", "callret", "context-switch", "context-switch"])
        #expect(lines.filter { $0.hasPrefix("round ") }.allSatisfy { $0.hasSuffix(" operations=32") })
        #expect(lines.contains("unavailable name=in reason=ring 3 has no ports"))
    }

    @Test("numbers take binary suffixes")
    func suffixes() throws {
        let run = try ProgramRun("spin", ["--rounds=1", "--operations=2K"])
        #expect(try #require(run.records).contains(" operations=2048\n"))
    }

    @Test("records that cannot be written are exit code 3, not a silent success")
    func unwritableRecords() throws {
        let program = try #require(try GuestImages.program(named: "spin"))
        let process = Process()
        process.executableURL = URL(filePath: program)
        process.arguments = ["--rounds", "1", "--operations", "10"]
        process.environment = ["VBENCH_RECORDS": "/nonexistent/records"]
        process.standardError = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 3)
    }

    @Test("every vector width gives the product's very bits")
    func vectorPaths() throws {
        let narrow = try ProgramRun("matmul", ["--rounds", "1", "--size", "48", "--path", "sse2"])
        let best = try ProgramRun("matmul", ["--rounds", "1", "--size", "48"])
        #expect(narrow.exitCode == 0)
        #expect(narrow.output == best.output)
        #expect(try #require(narrow.records).contains("value name=vectorBytes number=16\n"))
    }

    @Test("an aggressor works until it is killed")
    func forever() throws {
        let process = Process()
        process.executableURL = URL(filePath: try #require(try GuestImages.program(named: "spin")))
        process.arguments = ["--forever", "--operations", "1000"]
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        usleep(50_000)
        #expect(process.isRunning)
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        #expect(process.terminationReason == .uncaughtSignal)
    }
}
