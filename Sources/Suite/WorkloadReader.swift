/// Reads one workload of a suite.
struct WorkloadReader {
    let suite: SuiteReader
    let defaults: SuiteReader.Defaults

    private static let keys = [
        "name", "description", "program", "arguments", "environment", "workingDirectory", "files", "stdin", "expected",
        "trials", "memory", "timeLimit", "cpu", "backends", "variants",
    ]

    func read(_ cursor: JSONCursor) -> Workload? {
        guard let object = cursor.object(keys: Self.keys, expected: "a workload, an object,") else { return nil }
        let name = object.required("name", "add a name, \"name\": \"null-syscall\"").flatMap(suite.identifier)
        let program = program(object, name: name)
        var workload = Workload(name: name ?? "", program: program ?? .builtIn(""))
        workload.description = object["description"]?.string() ?? ""
        workload.arguments =
            object["arguments"]?.array(expected: "a list of arguments")?.compactMap(argument) ?? []
        for (key, value) in object["environment"]?.dictionary(expected: "an object of variables") ?? [] {
            if key.isEmpty || key.contains("=") || key.unicodeScalars.contains("\0") {
                value.problem("\"\(key)\" is not a variable's name")
            }
            workload.environment[key] = argument(value)
        }
        workload.workingDirectory = object["workingDirectory"].flatMap { guestPath($0, directory: true) } ?? "/"
        if let list = object["files"]?.array(expected: "a list of files") {
            let files = list.map { ($0, file($0)) }
            workload.files = files.compactMap(\.1)
            suite.reportDuplicates(files.map { ($0, $1?.guestPath) }, "guest path")
        }
        workload.standardInput = object["stdin"].flatMap(standardInput)
        workload.trials = object["trials"].flatMap(suite.trials) ?? defaults.trials
        workload.memoryBytes = object["memory"].flatMap(suite.memory) ?? defaults.memoryBytes
        workload.timeLimitSeconds =
            object["timeLimit"]?.seconds(in: Limits.timeLimitSeconds) ?? defaults.timeLimitSeconds
        workload.cpu = object["cpu"].flatMap(suite.cpu) ?? defaults.cpu
        workload.backends =
            object["backends"].flatMap { suite.backends($0, of: defaults.backends, "the suite") } ?? defaults.backends
        workload.variants =
            object["variants"].flatMap { suite.variants($0, backends: workload.backends) } ?? defaults.variants
        workload.expected = object["expected"].flatMap { expected($0, backends: workload.backends) } ?? Expectation()
        checkFit(workload, object)
        return name != nil && program != nil ? workload : nil
    }

    private func program(_ object: ObjectCursor, name: String?) -> Program? {
        guard let cursor = object["program"] else {
            guard let name else { return nil }
            if let known = suite.vocabulary.programs, !known.contains(name) {
                object.cursor.problem(
                    "\"program\" is missing, and \"\(name)\" is no built-in program",
                    Spelling.nearest(to: name, in: known).map { "did you mean \"\($0)\"?" }
                        ?? "add \"program\": one of \(known.joined(separator: ", ")), or {\"host\": \"/bin/busybox\"}")
                return nil
            }
            return .builtIn(name)
        }
        guard case .string(let text) = cursor.node.value else {
            let expected = "a program's name or {\"host\": path}"
            return cursor.object(keys: ["host"], expected: expected)?
                .required("host", "write {\"host\": \"/bin/busybox\"}")
                .flatMap(hostPath).map(Program.host)
        }
        if text.contains("/") {
            cursor.problem(
                "\"\(text)\" is no built-in program", "a file of the host is written {\"host\": \"\(text)\"}")
            return nil
        }
        if let known = suite.vocabulary.programs {
            return cursor.choice(of: known, "program").map(Program.builtIn)
        }
        return suite.identifier(cursor).map(Program.builtIn)
    }

    /// A string, or a number as it is written.
    private func argument(_ cursor: JSONCursor) -> String? {
        if case .number(let text) = cursor.node.value { return text }
        return cursor.string(expected: "a string or a number")
    }

    private func hostPath(_ cursor: JSONCursor) -> String? {
        guard let text = cursor.string(expected: "a path") else { return nil }
        if text.isEmpty {
            cursor.problem("an empty path")
            return nil
        }
        return suite.resolve(text)
    }

    private func guestPath(_ cursor: JSONCursor, directory: Bool = false) -> String? {
        guard let text = cursor.string(expected: "a path in the guest") else { return nil }
        if directory && text == "/" { return text }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        guard text.hasPrefix("/"), text.utf8.count < 4096,
            parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." && $0.utf8.count < 256 })
        else {
            cursor.problem("\"\(text)\" is not a path in the guest", "write it as an absolute path, \"/data/input\"")
            return nil
        }
        if !directory, let first = parts.first, first == ".vbench" || first == "dev" {
            cursor.problem("\"/\(first)\" belongs to the guest kernel", "put the file elsewhere, \"/data/input\"")
            return nil
        }
        return text
    }

    private static let contentKeys = ["host", "text", "generate"]

    private func file(_ cursor: JSONCursor) -> InputFile? {
        guard
            let object = cursor.object(
                keys: Self.contentKeys + ["guestPath", "executable"], expected: "a file, an object,")
        else { return nil }
        let executable = object["executable"]?.bool() ?? false
        let content = content(object)
        let path = object.required("guestPath", "add where it goes, \"guestPath\": \"/data/input\"")
            .flatMap { guestPath($0) }
        guard let content, let path else { return nil }
        return InputFile(content: content, guestPath: path, executable: executable)
    }

    private func standardInput(_ cursor: JSONCursor) -> FileContent? {
        if case .string(let text) = cursor.node.value { return .text(text) }
        return cursor.object(
            keys: Self.contentKeys, expected: "text, or {\"host\": path}, {\"text\": …} or {\"generate\": {…}},"
        ).flatMap(content)
    }

    /// Exactly one of host, text, generate.
    private func content(_ object: ObjectCursor) -> FileContent? {
        let given = Self.contentKeys.compactMap { key in object[key].map { (key, $0) } }
        guard given.count == 1 else {
            object.cursor.problem(
                given.isEmpty
                    ? "where the bytes come from is missing"
                    : "the bytes come from \(given.map { "\"\($0.0)\"" }.joined(separator: " and ")) at once",
                "write one of \"host\": path, \"text\": text, \"generate\": {…}")
            return nil
        }
        switch given[0].0 {
        case "host": return hostPath(given[0].1).map { .host(path: $0) }
        case "text":
            guard case .string(let text) = given[0].1.node.value else {
                _ = given[0].1.string()
                return nil
            }
            return .text(text)
        default: return generated(given[0].1).map(FileContent.generated)
        }
    }

    private func generated(_ cursor: JSONCursor) -> GeneratedFile? {
        guard let object = cursor.object(keys: ["kind", "bytes", "seed"]) else { return nil }
        let kinds = GeneratedFile.Kind.allCases.map(\.rawValue)
        let kind = object.required("kind", "one of " + kinds.joined(separator: ", "))?.choice(of: kinds, "kind of file")
        let bytes = object.required("bytes", "add the length, \"bytes\": \"4MiB\"")?.bytes(in: Limits.generatedBytes)
        let seed = object["seed"]?.integer(in: Limits.seeds, "a seed") ?? 1
        guard let kind = kind.flatMap(GeneratedFile.Kind.init(rawValue:)), let bytes else { return nil }
        return GeneratedFile(kind: kind, bytes: bytes, seed: seed)
    }

    private func expected(_ cursor: JSONCursor, backends: [String]) -> Expectation? {
        guard let object = cursor.object(keys: ["exitCode", "outputMatchesNative", "sha256"]) else { return nil }
        var expectation = Expectation()
        expectation.exitCode = object["exitCode"]?.integer(in: 0...255, "an exit code") ?? 0
        if let matches = object["outputMatchesNative"], let flag = matches.bool() {
            expectation.outputMatchesNative = flag
            if flag && !backends.contains("native") {
                matches.problem(
                    "there is no native output to compare with", "add \"native\" to the backends, or use \"sha256\"")
            }
        }
        if let digest = object["sha256"], let text = digest.string(expected: "a SHA-256 digest") {
            if text.count == 64 && text.allSatisfy({ $0.isASCII && $0.isHexDigit }) {
                expectation.sha256 = text.lowercased()
            } else {
                digest.problem("not a SHA-256 digest", "64 hexadecimal digits, as sha256sum prints them")
            }
        }
        return expectation
    }

    /// Files live in the guest's RAM.
    private func checkFit(_ workload: Workload, _ object: ObjectCursor) {
        let contents = workload.files.map(\.content) + [workload.standardInput].compactMap { $0 }
        let needed = contents.reduce(UInt64(0)) { sum, content in
            switch content {
            case .generated(let file): sum + file.bytes
            case .text(let text): sum + UInt64(text.utf8.count)
            case .host: sum
            }
        }
        if needed >= workload.memoryBytes {
            (object["files"] ?? object["stdin"] ?? object.cursor).problem(
                "files of \(needed) bytes do not fit into \(Quantity.text(bytes: workload.memoryBytes)) of memory",
                "add \"memory\": \"\(needed / (1 << 20) * 2 + 64)MiB\", or make them smaller")
        }
    }
}
