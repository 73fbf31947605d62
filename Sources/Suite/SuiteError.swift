/// One thing that is wrong with a suite.
public struct SuiteProblem: Sendable, Equatable, CustomStringConvertible {
    /// JSONPath of the value, `$.workloads[2].arguments[0]`; nil for text that is not JSON and files that cannot be
    /// read.
    public var path: String?
    /// Where the value (or the unknown key) begins.
    public var position: SourcePosition?
    /// What is wrong.
    public var message: String
    /// What to do about it.
    public var suggestion: String?

    public init(path: String?, position: SourcePosition?, message: String, suggestion: String? = nil) {
        self.path = path
        self.position = position
        self.message = message
        self.suggestion = suggestion
    }

    /// `12:9: $.workloads[0].trails: unknown key "trails"; did you mean "trials"?`
    public var description: String {
        var text = ""
        if let position { text += "\(position.line):\(position.column): " }
        if let path { text += path + ": " }
        text += message
        if let suggestion { text += "; " + suggestion }
        return text
    }
}

/// A suite that cannot be run: everything that is wrong with it, in file order.
public struct SuiteError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The suite file as it was named.
    public var file: String
    /// At least one.
    public var problems: [SuiteProblem]

    public init(file: String, problems: [SuiteProblem]) {
        self.file = file
        self.problems = problems
    }

    /// One line a problem, each with the file name, as compilers write them.
    public var description: String {
        let lines = problems.map { problem in
            problem.position == nil ? "\(file): \(problem)" : "\(file):\(problem)"
        }
        guard problems.count > 1 else { return lines.joined() }
        return (lines + ["\(problems.count) problems"]).joined(separator: "\n")
    }
}
