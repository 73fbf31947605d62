import Foundation
import Testing

@testable import Machine

@Suite("cpio archives")
struct CpioArchiveTests {
    static let cpio = "/usr/bin/cpio"
    static var hasCpio: Bool { FileManager.default.isExecutableFile(atPath: cpio) }

    private func sample() throws -> CpioArchive {
        var archive = CpioArchive()
        try archive.addFile("/bin/tool", contents: Array("#!\n".utf8), mode: 0o755)
        try archive.addFile("/etc/deep/er/empty", contents: [])
        try archive.addFile("/odd", contents: [1, 2, 3, 4, 5])
        try archive.addSymbolicLink("/bin/link", target: "tool")
        try archive.addDirectory("/tmp", mode: 0o1777)
        return archive
    }

    /// Runs GNU cpio on an archive: the referee for the format.
    private func run(_ arguments: [String], _ archive: [UInt8], in folder: URL) throws -> [String] {
        let file = folder.appending(path: "archive.cpio")
        try Data(archive).write(to: file)
        let process = Process()
        process.executableURL = URL(filePath: Self.cpio)
        process.arguments = arguments
        process.currentDirectoryURL = folder
        process.standardInput = try FileHandle(forReadingFrom: file)
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return text.split(separator: "\n").map(String.init)
    }

    private func withFolder(_ body: (URL) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "vbench-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder)
    }

    @Test("GNU cpio lists what was put in, parents first", .enabled(if: hasCpio, "cpio is not installed"))
    func listing() throws {
        try withFolder { folder in
            let names = try run(["-t", "--quiet"], sample().finished(), in: folder)
            #expect(
                names == [
                    "bin", "bin/tool", "etc", "etc/deep", "etc/deep/er", "etc/deep/er/empty", "odd", "bin/link", "tmp",
                ])
        }
    }

    @Test("GNU cpio unpacks contents, modes and links", .enabled(if: hasCpio, "cpio is not installed"))
    func unpacking() throws {
        try withFolder { folder in
            _ = try run(["-i", "--quiet", "--no-preserve-owner"], sample().finished(), in: folder)
            let manager = FileManager.default
            func mode(_ name: String) throws -> Int {
                let attributes = try manager.attributesOfItem(atPath: folder.appending(path: name).path)
                return try #require(attributes[.posixPermissions] as? NSNumber).intValue
            }
            #expect(try Data(contentsOf: folder.appending(path: "odd")) == Data([1, 2, 3, 4, 5]))
            #expect(try Data(contentsOf: folder.appending(path: "etc/deep/er/empty")).isEmpty)
            #expect(try mode("bin/tool") == 0o755)
            #expect(try mode("odd") == 0o644)
            #expect(try mode("tmp") == 0o1777)
            #expect(try manager.destinationOfSymbolicLink(atPath: folder.appending(path: "bin/link").path) == "tool")
        }
    }

    @Test("headers and contents start at multiples of four", arguments: 0...9)
    func alignment(size: Int) throws {
        var archive = CpioArchive()
        try archive.addFile("/" + String(repeating: "n", count: size + 1), contents: [UInt8](repeating: 7, count: size))
        let bytes = archive.finished()
        #expect(bytes.count % 4 == 0)
        let trailer = try #require(Data(bytes).range(of: Data("TRAILER!!!".utf8)))
        #expect((trailer.lowerBound - 110) % 4 == 0)
        #expect(bytes[trailer.lowerBound - 110..<trailer.lowerBound - 104].elementsEqual("070701".utf8))
    }

    @Test("paths are made plain")
    func plainPaths() throws {
        var one = CpioArchive()
        try one.addFile("//a/.//b/", contents: [])
        var other = CpioArchive()
        try other.addFile("/a/b", contents: [])
        #expect(one.finished() == other.finished())
    }

    @Test("impossible paths are refused", arguments: ["", "a", "./a", "/..", "/a/../b", "/a\u{0}b"])
    func badPaths(path: String) {
        var archive = CpioArchive()
        #expect(throws: CpioArchiveError.invalidPath(path)) { try archive.addFile(path, contents: []) }
        #expect(throws: CpioArchiveError.invalidPath(path)) { try archive.addDirectory(path) }
    }

    @Test("one place holds one thing")
    func occupied() throws {
        var archive = try sample()
        #expect(throws: CpioArchiveError.occupied("/odd")) { try archive.addFile("/odd", contents: []) }
        #expect(throws: CpioArchiveError.occupied("/bin")) { try archive.addFile("/bin", contents: []) }
        #expect(throws: CpioArchiveError.occupied("/odd")) { try archive.addDirectory("/odd") }
        #expect(throws: CpioArchiveError.occupied("/odd")) { try archive.addFile("/odd/x", contents: []) }
        #expect(throws: CpioArchiveError.invalidPath("/")) { try archive.addFile("/", contents: []) }
        // A folder may be named again.
        try archive.addDirectory("/tmp")
        try archive.addDirectory("/")
    }
}
