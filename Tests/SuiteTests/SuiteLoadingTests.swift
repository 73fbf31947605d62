import Foundation
import SchemaTesting
import Testing

@testable import Suite

struct SuiteLoadingTests {
    @Test(arguments: ["quick", "full"])
    func theSuitesOfTheRepositoryAreValid(name: String) throws {
        let programs = SchemaChecker.root.appending(path: "Workloads/Programs")
        let names = try FileManager.default.contentsOfDirectory(atPath: programs.path)
            .filter { $0.hasSuffix(".swift") }.map { String($0.dropLast(6)) }
        let path = SchemaChecker.root.appending(path: "Workloads/suites/\(name).json").path
        let suite = try Suite.load(path: path, vocabulary: Vocabulary(programs: names))
        #expect(suite.name == name)
        #expect(suite.backends == Vocabulary.defaultBackends)
        // The workloads every suite of ours must have.
        let required = [
            "null-syscall", "page-touch", "forkwait", "pipe-pingpong", "compute", "matmul", "pointer-chase",
            "sha256sum",
            "gzip", "sort",
        ]
        #expect(Set(required).isSubset(of: suite.workloads.map(\.name)))
        #expect(!suite.colocation.isEmpty)
    }

    @Test(
        .enabled(if: SchemaChecker.isAvailable, "python3-jsonschema is not installed"),
        arguments: ["quick", "full", "bench-software"])
    func theSuitesOfTheRepositoryFitTheSchema(name: String) throws {
        let url = SchemaChecker.root.appending(path: "Workloads/suites/\(name).json")
        let text = try String(contentsOf: url, encoding: .utf8)
        let resolved = try JSONEncoder().encode(Suite.load(path: url.path))
        let problems = try SchemaChecker.problems(
            schema: "suite.schema.json", documents: [text, String(decoding: resolved, as: UTF8.self)])
        #expect(problems == [:])
    }

    @Test func aMissingSuiteSaysSo() {
        let error = #expect(throws: SuiteError.self) { try Suite.load(path: "/nowhere/suite.json") }
        #expect(
            error?.description
                == "/nowhere/suite.json: cannot open the suite: No such file or directory; see Workloads/suites for examples"
        )
    }

    @Test func aFolderIsNoSuite() {
        let error = #expect(throws: SuiteError.self) { try Suite.load(path: "/tmp") }
        #expect(error?.description == "/tmp: cannot read the suite: Is a directory")
    }

    @Test func anEndlessFileIsRefused() {
        let error = #expect(throws: SuiteError.self) { try Suite.load(path: "/dev/zero") }
        #expect(error?.description == "/dev/zero: larger than 16 MiB; is this a suite?")
    }

    @Test func relativePathsStartAtTheSuitesFolder() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "vbench-suite-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let text = #"""
            {"name": "s", "workloads": [
              {"name": "a", "program": {"host": "bin/tool"}, "stdin": {"host": "../x"}},
              {"name": "b", "program": {"host": "/absent"}, "files": [{"host": "s.json", "guestPath": "/s"}]}]}
            """#
        let path = folder.appending(path: "s.json").path
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        let suite = try Suite.load(path: path)
        let base = folder.standardizedFileURL.path
        #expect(suite.workloads[0].program == .host(path: base + "/bin/tool"))
        #expect(suite.workloads[1].files[0].content == .host(path: base + "/s.json"))
        #expect(
            suite.unusableHostFiles { path, use in
                path == "/absent" && use == .program(environment: [:]) || use == .standardInput ? "gone" : nil
            }.map(\.path) == ["$.workloads[0].stdin.host", "$.workloads[1].program.host"])
    }
}
