/// One benchmark program. Its file defines `typealias Program = …`; the harness does the rest.
///
/// Work is deterministic for given arguments: the checksum on standard output is the same on every machine.
protocol Workload {
    static var name: StaticString { get }
    /// One line that says what is measured.
    static var summary: StaticString { get }
    /// What `operations` counts, singular.
    static var operation: StaticString { get }
    /// Help on the options `init` reads, a line each, indented by two.
    static var options: StaticString { get }
    static var defaultRounds: UInt64 { get }
    /// Whether what is computed is the same on every machine, so that its checksum goes to standard output.
    static var hasChecksum: Bool { get }

    /// Reads the options and does what is needed once, untimed.
    init(_ arguments: inout Arguments)

    /// Timed loops, run one after another, each for all rounds. Most programs have one, named `main`.
    var phases: Int { get }
    func appendName(ofPhase phase: Int, to text: inout Text)

    /// Untimed, before each round.
    mutating func prepare(phase: Int)
    /// One round, timed.
    /// - Returns: Operations done.
    mutating func run(phase: Int) -> UInt64
    /// TSC cycles of the last round where the workload times itself, because its rounds hold more than its operations; nil: what
    /// `run` took.
    func measuredCycles(phase: Int) -> UInt64?
    /// Untimed, after each round: what the round computed and what it should have, by other means.
    mutating func outcome(phase: Int) -> Outcome
    /// Untimed, after the last round.
    mutating func finish()
    /// Figures worth recording beside the rounds.
    func appendValues(to records: inout Records)
}

struct Outcome {
    var got: UInt64
    var expected: UInt64
}

extension Workload {
    static var defaultRounds: UInt64 { 10 }
    static var hasChecksum: Bool { true }
    static var options: StaticString { "" }
    var phases: Int { 1 }
    func appendName(ofPhase phase: Int, to text: inout Text) { text.append("main") }
    mutating func prepare(phase: Int) {}
    func measuredCycles(phase: Int) -> UInt64? { nil }
    mutating func finish() {}
    func appendValues(to records: inout Records) {}
}
