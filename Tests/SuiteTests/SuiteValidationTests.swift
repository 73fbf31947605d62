import Foundation
import SchemaTesting
import Testing

@testable import Suite

struct SuiteValidationTests {
    static let vocabulary = Vocabulary(programs: ["compute", "null-syscall", "spin"])

    static func parse(_ text: String, vocabulary: Vocabulary = vocabulary) throws(SuiteError) -> Suite {
        try Suite.parse(Array(text.utf8), file: "s.json", folder: "/suites", vocabulary: vocabulary)
    }

    @Test(arguments: SuiteExample.valid)
    func acceptsValidSuites(example: SuiteExample) throws {
        #expect(throws: Never.self) { try Self.parse(example.text) }
    }

    @Test(arguments: SuiteExample.invalid)
    func reportsEveryProblemAtOnce(example: SuiteExample) {
        let error = #expect(throws: SuiteError.self) { try Self.parse(example.text) }
        #expect(error?.problems.map(\.description) == example.problems)
    }

    @Test(.enabled(if: SchemaChecker.isAvailable, "python3-jsonschema is not installed"))
    func theJSONSchemaAgrees() throws {
        let examples = SuiteExample.valid + SuiteExample.invalid
        let problems = try SchemaChecker.problems(schema: "suite.schema.json", documents: examples.map(\.text))
        for (index, example) in examples.enumerated() {
            let seen = problems[index] ?? []
            let expected = !example.problems.isEmpty && example.schemaSees
            #expect(!seen.isEmpty == expected, "\(example.testDescription): \(seen)")
        }
    }

    @Test func fillsInEveryDefault() throws {
        let suite = try Self.parse(SuiteExample.valid[0].text)
        #expect(suite.seed == 1)
        #expect(suite.warmup == .detect)
        #expect(suite.backends == ["native", "kvm", "software"])
        #expect(suite.workloads == [Workload(name: "compute", program: .builtIn("compute"))])
        #expect(suite.workloads[0].trials == 5)
        #expect(suite.workloads[0].memoryBytes == 128 << 20)
        #expect(suite.workloads[0].variants(on: "kvm") == [Variant(name: "default")])
    }

    @Test func readsEverything() throws {
        let suite = try Self.parse(SuiteExample.valid[1].text)
        #expect(suite.name == "all")
        #expect(suite.seed == 7)
        #expect(suite.warmup == .discard(rounds: 2))
        // In the order of the vocabulary, whatever the order in the file.
        #expect(suite.backends == ["native", "software"])

        let sort = suite.workloads[0]
        #expect(sort.program == .host(path: "/bin/busybox"))
        #expect(sort.arguments == ["sort", "-n", "3", "/data/in"])
        #expect(sort.environment == ["LANG": "C", "N": "1"])
        #expect(sort.files[0].content == .generated(GeneratedFile(kind: .numbers, bytes: 1 << 20, seed: 3)))
        #expect(sort.files[1] == InputFile(content: .text("hello\0"), guestPath: "/data/hello", executable: true))
        #expect(sort.files[2].content == .host(path: "/suites/local/file"))
        #expect(sort.standardInput == .generated(GeneratedFile(kind: .text, bytes: 100)))
        #expect(sort.expected == Expectation(exitCode: 2, outputMatchesNative: true))
        #expect(sort.trials == 3)
        #expect(sort.memoryBytes == 32 << 20)
        #expect(sort.timeLimitSeconds == 1.5)
        #expect(sort.cpu == .float)
        #expect(sort.variants == [])

        let compute = suite.workloads[1]
        #expect(compute.memoryBytes == 64 << 20)
        #expect(compute.timeLimitSeconds == 0.5)
        #expect(compute.cpu == .pinned(0))
        #expect(compute.trials == 9)
        #expect(compute.standardInput == .text("text"))
        #expect(compute.variants(on: "native").map(\.name) == ["plain"])
        #expect(compute.variants(on: "software").map(\.name) == ["plain", "small"])
        #expect(
            compute.variants(on: "software")[1].options == ["codeCacheBytes": "1048576", "chain": "false", "x": "y"])

        #expect(suite.workload(named: "spin")?.arguments == ["--forever"])
        #expect(suite.colocation[0].backends == ["software"])
        #expect(suite.colocation[0].placements == [.differentCPU])
        #expect(suite.colocation[1].backends == ["native", "software"])
        #expect(suite.colocation[1].placements == [.sameCPU, .differentCPU])
        #expect(suite.colocation[1].trials == 9)
    }

    @Test(arguments: SuiteExample.valid)
    func theResolvedCopyIsTheSameSuite(example: SuiteExample) throws {
        let suite = try Self.parse(example.text)
        let encoded = try JSONEncoder().encode(suite)
        #expect(try Self.parse(String(decoding: encoded, as: UTF8.self)) == suite)
        #expect(try JSONDecoder().decode(Suite.self, from: encoded) == suite)
    }

    @Test func anErrorNamesTheFileOnEveryLine() {
        let error = #expect(throws: SuiteError.self) { try Self.parse("{}") }
        let lines = error?.description.split(separator: "\n").map(String.init) ?? []
        #expect(lines.count == 3)
        #expect(lines[0].hasPrefix("s.json:1:1: $: \"name\" is missing"))
        #expect(lines[2] == "2 problems")
    }

    @Test func withoutAVocabularyAnyWellFormedProgramNameGoes() throws {
        let suite = try Self.parse(
            #"{"name": "s", "workloads": [{"name": "new-one"}]}"#, vocabulary: Vocabulary())
        #expect(suite.workloads[0].program == .builtIn("new-one"))
    }

    /// No prefix of a suite is a suite, and none brings the reader down.
    @Test func aTruncatedSuiteIsASyntaxError() {
        let text = SuiteExample.valid[1].text
        for length in 0..<text.utf8.count {
            let error = #expect(throws: SuiteError.self) {
                try Suite.parse(Array(text.utf8.prefix(length)), file: "s.json", folder: "/")
            }
            #expect(error?.problems.count == 1)
            #expect(error?.problems.first?.position != nil)
        }
    }

    /// Whatever bytes come, the answer is a suite or problems.
    @Test func damagedSuitesNeverCrashTheReader() {
        let text = Array(SuiteExample.valid[1].text.utf8)
        let interesting = Array("{}[]\",:0-9e.\\u null\n\u{0}\u{7F}é".utf8) + [0xFF, 0x80]
        var generator = SplitMix64(seed: 42)
        var rejected = 0
        for _ in 0..<3000 {
            var bytes = text
            for _ in 0...Int.random(in: 0..<3, using: &generator) {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bytes[place] = interesting.randomElement(using: &generator)!
                case 1: bytes.remove(at: place)
                default: bytes.insert(interesting.randomElement(using: &generator)!, at: place)
                }
            }
            do {
                _ = try Suite.parse(bytes, file: "s.json", folder: "/", vocabulary: Self.vocabulary)
            } catch {
                rejected += 1
                #expect(!error.problems.isEmpty)
            }
        }
        #expect(rejected > 1500)
    }
}
