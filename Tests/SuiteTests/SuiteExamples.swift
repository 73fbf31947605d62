import Testing

/// Suites that the Swift validator and the JSON Schema are both held to.
struct SuiteExample: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var text: String
    /// Lines of the error, each `line:column: path: message; suggestion`; empty for a valid suite.
    var problems: [String] = []
    /// Whether the JSON Schema can see it too.
    var schemaSees = true

    init(_ name: String, _ text: String, _ problems: [String] = [], schemaSees: Bool = true) {
        testDescription = name
        self.text = text
        self.problems = problems
        self.schemaSees = schemaSees
    }

    /// An example whose only workload has these members besides its name.
    static func workload(_ name: String, _ members: String, _ problems: [String], schemaSees: Bool = true) -> Self {
        Self(
            name, "{\"name\": \"s\", \"workloads\": [{\"name\": \"compute\",\n\(members)}]}", problems,
            schemaSees: schemaSees)
    }
}
