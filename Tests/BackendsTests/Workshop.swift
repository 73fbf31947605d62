import Foundation
import Testing

/// Compiles small programs and libraries with the host's C compiler, in a folder of their own.
final class Workshop: Sendable {
    let folder: TemporaryFolder
    private let compiler: String

    init() throws {
        folder = try TemporaryFolder()
        let paths = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        compiler = try #require(
            ["clang", "cc"].lazy.flatMap { name in paths.map { "\($0)/\(name)" } }.first {
                FileManager.default.isExecutableFile(atPath: $0)
            }, "no C compiler in PATH")
    }

    var path: String { folder.url.path }

    /// Compiles `source` to the file `output` of the folder and gives its path; missing folders are made.
    @discardableResult
    func compile(_ output: String, _ source: String, _ options: [String] = []) throws -> String {
        let target = folder.url.appending(path: output)
        try FileManager.default.createDirectory(
            at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
        let file = try folder.file("source.c", Array(source.utf8))
        let process = Process()
        process.executableURL = URL(filePath: compiler)
        process.currentDirectoryURL = folder.url
        process.arguments = [file, "-w", "-O1", "-o", target.path] + options
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "\(compiler) cannot compile \(output)")
        return target.path
    }

    /// A shared library that returns `value` from the function of its own name.
    @discardableResult
    func library(_ output: String, value: Int = 1, _ options: [String] = []) throws -> String {
        try compile(output, "int answer(void) { return \(value); }", ["-shared", "-fPIC"] + options)
    }
}
