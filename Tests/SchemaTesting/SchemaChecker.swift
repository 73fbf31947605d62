import Foundation

/// Runs Schemas/validate.py, where Python has jsonschema.
public enum SchemaChecker {
    /// The repository.
    public static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Whether schemas can be checked here.
    public static let isAvailable = interpreter != nil

    /// Words that start a Python with jsonschema: the system's, which the Debian package is for, or the user's.
    private static let interpreter = [["/usr/bin/python3"], ["/usr/bin/env", "python3"]].first {
        (try? run($0 + ["-c", "import jsonschema"]).status) == 0
    }

    /// What the schema says against each document, by index; documents without complaint are absent.
    public static func problems(schema: String, documents: [String]) throws -> [Int: [String]] {
        let folder = FileManager.default.temporaryDirectory.appending(path: "vbench-schema-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let paths = try documents.enumerated().map { index, text in
            let url = folder.appending(path: "\(index).json")
            try text.write(to: url, atomically: false, encoding: .utf8)
            return url.path
        }
        let script = root.appending(path: "Schemas/validate.py").path
        let result = try run((interpreter ?? []) + [script, root.appending(path: "Schemas/\(schema)").path] + paths)
        guard result.status <= 1, result.error.isEmpty else {
            throw CheckerError(text: result.error)
        }
        var problems: [Int: [String]] = [:]
        for line in result.output.split(separator: "\n") {
            let name = line.dropFirst(folder.path.count + 1).prefix { $0 != "." }
            problems[Int(name)!, default: []].append(String(line.dropFirst(folder.path.count + name.count + 8)))
        }
        return problems
    }

    /// The script itself failed.
    public struct CheckerError: Error {
        public var text: String
    }

    private static func run(_ command: [String]) throws -> (status: Int32, output: String, error: String) {
        let process = Process()
        process.executableURL = URL(filePath: command[0])
        process.arguments = Array(command.dropFirst())
        let output = Pipe()
        let error = Pipe()
        process.standardOutput = output
        process.standardError = error
        try process.run()
        // One after the other is safe: the script writes little to standard error.
        let text = try output.fileHandleForReading.readToEnd() ?? Data()
        let complaint = try error.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return (
            process.terminationStatus, String(decoding: text, as: UTF8.self), String(decoding: complaint, as: UTF8.self)
        )
    }
}
