import Foundation

extension Suite {
    /// Reads and validates a suite file. Host paths in it are relative to the file's folder and absolute afterwards.
    ///
    /// - Parameter vocabulary: the backends and built-in programs that the suite may name.
    /// - Throws: every problem of the file at once.
    public static func load(path: String, vocabulary: Vocabulary = Vocabulary()) throws(SuiteError) -> Suite {
        let bytes = try readFile(path)
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        return try parse(bytes, file: path, folder: folder, vocabulary: vocabulary)
    }

    /// Validates the text of a suite.
    ///
    /// - Parameters:
    ///   - file: name of the text in messages.
    ///   - folder: where relative host paths start.
    /// - Throws: every problem of the text at once.
    public static func parse(
        _ bytes: [UInt8], file: String, folder: String, vocabulary: Vocabulary = Vocabulary()
    ) throws(SuiteError) -> Suite {
        let tree: JSONNode
        do {
            tree = try JSONParser.parse(bytes)
        } catch {
            let problem = SuiteProblem(
                path: nil, position: error.position, message: error.message, suggestion: error.suggestion)
            throw SuiteError(file: file, problems: [problem])
        }
        let reader = SuiteReader(vocabulary: vocabulary) { path in
            URL(fileURLWithPath: path, relativeTo: URL(fileURLWithPath: folder, isDirectory: true))
                .standardizedFileURL.path
        }
        let (suite, problems) = reader.read(tree)
        guard let suite else { throw SuiteError(file: file, problems: problems) }
        return suite
    }

    /// Files of the host that the suite names and that cannot be used here, each with its place.
    ///
    /// - Parameter problem: Why the file at a path cannot be used, or nil.
    public func unusableHostFiles(_ problem: (_ path: String, _ use: HostFileUse) -> String?) -> [SuiteProblem] {
        var found: [SuiteProblem] = []
        func check(_ path: String, _ use: HostFileUse, _ jsonPath: String) {
            guard let message = problem(path, use) else { return }
            found.append(
                SuiteProblem(
                    path: jsonPath, position: nil, message: message, suggestion: "install it, or correct the path"))
        }
        let all = [("workloads", workloads), ("aggressors", aggressors)].flatMap { key, list in
            list.enumerated().map { ("$.\(key)[\($0)]", $1) }
        }
        for (place, workload) in all {
            if case .host(let path) = workload.program {
                check(path, .program(environment: workload.environment), place + ".program.host")
            }
            for (index, input) in workload.files.enumerated() {
                if case .host(let path) = input.content { check(path, .input, place + ".files[\(index)].host") }
            }
            if case .host(let path)? = workload.standardInput { check(path, .standardInput, place + ".stdin.host") }
        }
        return found
    }

    /// At most `Limits.fileBytes`, so that a device or a wrong file is not read without end.
    private static func readFile(_ path: String) throws(SuiteError) -> [UInt8] {
        func failure(_ message: String, _ suggestion: String?) -> SuiteError {
            SuiteError(
                file: path,
                problems: [SuiteProblem(path: nil, position: nil, message: message, suggestion: suggestion)])
        }
        guard let file = fopen(path, "rb") else {
            let code = errno
            throw failure(
                "cannot open the suite: \(String(cString: strerror(code)))",
                code == ENOENT ? "see Workloads/suites for examples" : nil)
        }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = fread(&chunk, 1, chunk.count, file)
            bytes.append(contentsOf: chunk[..<count])
            if bytes.count > Limits.fileBytes {
                throw failure("larger than \(Limits.fileBytes >> 20) MiB", "is this a suite?")
            }
            if count < chunk.count { break }
        }
        if ferror(file) != 0 {
            throw failure("cannot read the suite: \(String(cString: strerror(errno)))", nil)
        }
        return bytes
    }
}

/// What a suite wants a file of the host for.
public enum HostFileUse: Sendable, Equatable {
    /// It is run, with this environment.
    case program(environment: [String: String])
    /// It, or the folder, goes into the guest's tree.
    case input
    case standardInput
}
