import Foundation
import Testing

@testable import Lab

@Suite("Output folder")
final class OutputFolderTests {
    private let root = FileManager.default.temporaryDirectory.appending(path: "vbench-test-\(UUID().uuidString)").path

    init() throws { try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true) }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    @Test("A new folder is made, parents included, and goes away when nothing was written")
    func removed() throws {
        let path = root + "/a/b"
        _ = try OutputFolder(requested: path, suite: "s")
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test("What was written stays")
    func stays() throws {
        let path = root + "/out"
        try OutputFolder(requested: path, suite: "s").save { folder in
            try Data("x".utf8).write(to: URL(filePath: folder + "/file"))
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: path) == ["file"])
    }

    @Test("A folder with something in it is refused")
    func notEmpty() throws {
        try Data("x".utf8).write(to: URL(filePath: root + "/report.json"))
        #expect(throws: OutputFolder.Failure.self) { try OutputFolder(requested: self.root, suite: "s") }
        #expect(try FileManager.default.contentsOfDirectory(atPath: root) == ["report.json"])
    }

    @Test("Two runs cannot take the same empty folder")
    func locked() throws {
        let path = root + "/shared"
        let first = try OutputFolder(requested: path, suite: "s")
        #expect(throws: OutputFolder.Failure.self) { try OutputFolder(requested: path, suite: "s") }
        withExtendedLifetime(first) {}
    }

    @Test("A place where no folder can be is refused before anything is run")
    func impossible() {
        #expect(throws: OutputFolder.Failure.self) { try OutputFolder(requested: "/dev/null/x", suite: "s") }
        #expect(throws: OutputFolder.Failure.self) { try OutputFolder(requested: "/proc/x", suite: "s") }
    }

    @Test("When writing fails the results go elsewhere, and the error says where")
    func rescue() throws {
        struct Full: Error {}
        let folder = try OutputFolder(requested: root + "/full", suite: "s")
        let failure = #expect(throws: OutputFolder.WriteFailure.self) {
            try folder.save { path in
                if path == folder.path { throw Full() }
                try Data("kept".utf8).write(to: URL(filePath: path + "/file"))
            }
        }
        let rescued = try #require(failure?.rescued)
        defer { try? FileManager.default.removeItem(atPath: rescued) }
        #expect(try String(contentsOfFile: rescued + "/file", encoding: .utf8) == "kept")
    }
}
