import Foundation
import Testing

@Suite("vbench exec")
struct ExecTests {
    private let scratch = Scratch()

    private func exec(_ arguments: String..., options: [String] = []) throws -> VBenchProcess.Outcome {
        try VBenchProcess.run(["exec", "--backend", "native"] + options + ["--"] + arguments)
    }

    @Test("A program's output and exit code are passed on")
    func passesOn() throws {
        let outcome = try exec("null-syscall", "--rounds", "1")
        #expect(outcome.code == 0)
        #expect(outcome.output.contains("check ok"))
        #expect(try exec("null-syscall", "--no-such-option").code == 2)
    }

    @Test("--exits shows figures on standard error, so that output stays the program's own")
    func exits() throws {
        let outcome = try exec("null-syscall", "--rounds", "2", options: ["--exits"])
        #expect(outcome.errors.contains("host.minorFaults"))
        #expect(outcome.errors.contains("operations in"))
        #expect(!outcome.output.contains("operations in"))
    }

    @Test("What only the software VMM has is wrong usage elsewhere: 64")
    func softwareOnly() throws {
        #expect(try exec("spin", options: ["--trace", "exits"]).code == 64)
        #expect(try exec("spin", options: ["--user-mode", "direct"]).code == 64)
        let outcome = try VBenchProcess.run(["exec", "--backend", "software", "--trace-range", "1-2", "--", "spin"])
        #expect(outcome.code == 64)
    }

    @Test("A time limit ends the program: 124")
    func timeLimit() throws {
        let outcome = try exec("spin", "--forever", options: ["--time-limit", "0.5"])
        #expect(outcome.code == 124)
        #expect(outcome.errors.contains("time limit"))
    }

    @Test("No such program: 127")
    func missing() throws {
        let outcome = try exec("/no/such/program")
        #expect(outcome.code == 127)
        #expect(outcome.errors.contains("/no/such/program"))
    }

    @Test("A file that is no x86-64 program is told apart: 126")
    func unfit() throws {
        let text = try exec(try scratch.write("text", "hello\n"))
        #expect(text.code == 126)
        #expect(text.errors.contains("not an ELF"))
        var narrow = [UInt8](repeating: 0, count: 64)
        narrow.replaceSubrange(0..<7, with: [0x7F, 0x45, 0x4C, 0x46, 1, 1, 1])
        let elf32 = try exec(try scratch.write("elf32", Data(narrow)))
        #expect(elf32.code == 126)
        #expect(elf32.errors.contains("32-bit"))
        #expect(try exec(scratch.path).code == 126)
    }

    @Test("Files appear at their guest paths, folders with all that is in them")
    func files() throws {
        guard FileManager.default.isExecutableFile(atPath: "/bin/busybox") else { return }
        try scratch.write("a", "first\n")
        let outcome = try exec(
            "/bin/busybox", "cat", "/data/x", "/tree/a",
            options: ["--file", "\(scratch.path)/a:/data/x", "--file", "\(scratch.path):/tree"])
        #expect(outcome.output == "first\nfirst\n")
        #expect(outcome.code == 0)
    }

    @Test("Standard input is the file asked for, else empty")
    func standardInput() throws {
        guard FileManager.default.isExecutableFile(atPath: "/bin/busybox") else { return }
        let input = try scratch.write("in", "some text\n")
        #expect(try exec("/bin/busybox", "cat", options: ["--stdin", input]).output == "some text\n")
        let empty = try exec("/bin/busybox", "cat")
        #expect(empty.output == "")
        #expect(empty.code == 0)
    }

    @Test("A reader that goes away ends the program quietly, as in any pipeline")
    func closedPipe() throws {
        guard FileManager.default.isExecutableFile(atPath: "/bin/busybox") else { return }
        let outcome = try VBenchProcess.shell(
            #"{ "$VBENCH" exec --backend native -- /bin/busybox yes; echo "code $?" >&2; } | head -n 1"#)
        #expect(outcome.output == "y\n")
        #expect(outcome.errors == "code 141\n")
    }

    @Test("A program ended by a signal: 128 + its number")
    func signal() throws {
        guard FileManager.default.isExecutableFile(atPath: "/bin/busybox") else { return }
        #expect(try exec("/bin/busybox", "sh", "-c", "kill -SEGV $$").code == 128 + 11)
    }

    @Test(
        "Wrong usage: 64",
        arguments: [["exec"], ["exec", "--backend", "native"], ["exec", "--backend", "xen", "--", "x"]])
    func usage(arguments: [String]) throws {
        #expect(try VBenchProcess.run(arguments).code == 64)
    }
}
