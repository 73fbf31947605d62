import Foundation
import Testing

/// The built executable, run as a user runs it.
struct VBenchProcess {
    struct Outcome {
        /// Exit code, or 128 + signal.
        var code: Int32
        var output: String
        var errors: String
    }

    /// `vbench` lies beside the test bundle.
    static let executable = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        .appending(path: "vbench").path

    /// Runs `vbench` to its end.
    static func run(_ arguments: [String], in folder: String = "/tmp", environment: [String: String] = [:]) throws
        -> Outcome
    {
        try run(executable: executable, arguments, in: folder, environment: environment)
    }

    /// Runs a shell script that finds the executable in `$VBENCH`.
    static func shell(_ script: String, in folder: String = "/tmp") throws -> Outcome {
        try run(executable: "/bin/sh", ["-c", script], in: folder)
    }

    /// Starts `vbench` without waiting.
    static func start(_ arguments: [String], in folder: String, errors: String) throws -> Process {
        let process = Process()
        process.executableURL = URL(filePath: executable)
        process.arguments = arguments
        process.currentDirectoryURL = URL(filePath: folder)
        // What a killed run leaves behind goes with the test's own folder.
        process.environment = ProcessInfo.processInfo.environment.merging(["TMPDIR": folder]) { _, new in new }
        _ = FileManager.default.createFile(atPath: errors, contents: nil)
        process.standardError = try FileHandle(forWritingTo: URL(filePath: errors))
        process.standardOutput = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        try process.run()
        return process
    }

    private static func run(
        executable: String, _ arguments: [String], in folder: String, environment: [String: String] = [:]
    ) throws -> Outcome {
        let files = Scratch()
        let process = Process()
        process.executableURL = URL(filePath: executable)
        process.arguments = arguments
        process.currentDirectoryURL = URL(filePath: folder)
        process.environment = ProcessInfo.processInfo.environment
            .merging(["VBENCH": Self.executable]) { _, new in new }
            .merging(environment) { _, new in new }
        // Files, not pipes: a child that outlives its parent must not hang the test.
        process.standardOutput = try files.handle("out")
        process.standardError = try files.handle("err")
        process.standardInput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        let status = process.terminationStatus
        return Outcome(
            code: process.terminationReason == .uncaughtSignal ? 128 + status : status,
            output: try files.text("out"), errors: try files.text("err"))
    }
}

/// A folder for one test, removed with it.
final class Scratch {
    let path = FileManager.default.temporaryDirectory.appending(path: "vbench-test-\(UUID().uuidString)").path

    init() { try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    @discardableResult
    func write(_ name: String, _ contents: Data) throws -> String {
        try contents.write(to: URL(filePath: path + "/" + name))
        return path + "/" + name
    }

    @discardableResult
    func write(_ name: String, _ text: String) throws -> String { try write(name, Data(text.utf8)) }

    func text(_ name: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(filePath: path + "/" + name)), as: UTF8.self)
    }

    func handle(_ name: String) throws -> FileHandle {
        try FileHandle(forWritingTo: URL(filePath: try write(name, "")))
    }

    func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path + "/" + name) }
}
