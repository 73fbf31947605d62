import Results

/// Reads the records that a program writes to the file named by `VBENCH_RECORDS` (syntax: Workloads/README.md).
///
/// The program may be hostile or broken, and its writes may be cut anywhere: lines are put together from pieces, every
/// quantity is bounded, and the first thing that cannot be understood is kept as `problem`, which fails the trial.
public struct ProgramRecords: Sendable {
    /// What the program said of its own result.
    public enum Check: Sendable, Equatable {
        case passed
        case failed(expected: String, got: String)
    }

    /// Bounds on what one trial may record.
    public static let maximumLineBytes = 1024
    public static let maximumValues = 256

    private let nanosecondsPerCycle: Double
    private let maximumSamples: Int
    private var line: [UInt8] = []
    private var lineNumber = 0

    public private(set) var samples: [Sample] = []
    /// Figures that the program recorded, by name.
    public private(set) var values: [String: Double] = [:]
    /// Figures that the program could not take here, by name, with its reason.
    public private(set) var unavailable: [String: String] = [:]
    /// Nil when the program said nothing of its result (a program not written for vbench).
    public private(set) var check: Check?
    /// Why the records cannot be trusted, or nil.
    public private(set) var problem: String?

    /// - Parameters:
    ///   - tscHertz: Frequency of the TSC that the program's cycles are counted in.
    ///   - maximumSamples: More rounds than this are a problem.
    public init(tscHertz: UInt64, maximumSamples: Int = 1_000_000) {
        self.maximumSamples = maximumSamples
        nanosecondsPerCycle = tscHertz > 0 ? 1e9 / Double(tscHertz) : 0
    }

    /// Takes what the program wrote next.
    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        for byte in bytes {
            guard problem == nil else { return }
            if byte == UInt8(ascii: "\n") {
                endLine()
            } else if line.count < Self.maximumLineBytes {
                line.append(byte)
            } else {
                fail("a line of more than \(Self.maximumLineBytes) bytes")
            }
        }
    }

    /// Puts samples, values and the check's outcome into `result`. A failed check or unreadable records turn a program
    /// that ended by itself into a failed trial; a trial that failed for another reason keeps that reason.
    public mutating func finish(into result: inout TrialResult) {
        if !line.isEmpty, problem == nil { fail("the last line has no end") }
        result.samples = samples
        for (name, value) in values { result.counters["program." + name] = value }
        for (name, reason) in unavailable { result.countersUnavailable["program." + name] = reason }
        guard case .exited(let code) = result.status else { return }
        if let problem {
            result.status = .failed(TrialFailure(kind: .wrongResult, message: "unreadable program records: \(problem)"))
        } else if case .failed(let expected, let got) = check {
            result.status = .failed(
                TrialFailure(
                    kind: .wrongResult,
                    message: "the program found its own result wrong: expected \(expected), got \(got)"
                        + " (exit code \(code))"))
        }
    }

    private mutating func fail(_ reason: String) {
        if problem == nil { problem = "line \(lineNumber + 1): \(reason)" }
        line.removeAll()
    }

    private mutating func endLine() {
        let text = String(decoding: line, as: UTF8.self)
        line.removeAll(keepingCapacity: true)
        parse(text)
        lineNumber += 1
    }

    private mutating func parse(_ text: String) {
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        switch words.first {
        case "round": parseRound(words.dropFirst(), text)
        case "value": parseValue(words.dropFirst(), text)
        case "check": parseCheck(words.dropFirst(), text)
        case "unavailable": parseUnavailable(text)
        default: fail("unknown record \(Self.quoted(text))")
        }
    }

    private mutating func parseRound(_ words: ArraySlice<Substring>, _ text: String) {
        guard let fields = Self.fields(words, ["phase", "cycles", "operations"]), Self.isName(fields[0]),
            let cycles = UInt64(fields[1]), let operations = UInt64(fields[2])
        else { return fail("malformed round \(Self.quoted(text))") }
        guard nanosecondsPerCycle > 0 else { return fail("a round, but the TSC frequency is unknown here") }
        guard samples.count < maximumSamples else { return fail("more than \(maximumSamples) rounds") }
        samples.append(
            Sample(
                phase: fields[0], nanoseconds: Double(cycles) * nanosecondsPerCycle, operations: operations))
    }

    private mutating func parseValue(_ words: ArraySlice<Substring>, _ text: String) {
        guard let fields = Self.fields(words, ["name", "number"]), Self.isName(fields[0]),
            let number = Double(fields[1]), number.isFinite
        else { return fail("malformed value \(Self.quoted(text))") }
        guard values.count < Self.maximumValues else { return fail("more than \(Self.maximumValues) values") }
        values[fields[0]] = number
    }

    /// `unavailable name=NAME reason=TEXT`, the text to the end of the line.
    private mutating func parseUnavailable(_ text: String) {
        let words = text.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard let fields = Self.fields(words.dropFirst(), ["name", "reason"]), Self.isName(fields[0]),
            !fields[1].isEmpty, fields[1].utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F })
        else { return fail("malformed unavailable \(Self.quoted(text))") }
        guard unavailable.count < Self.maximumValues else {
            return fail("more than \(Self.maximumValues) unavailable figures")
        }
        unavailable[fields[0]] = fields[1]
    }

    private mutating func parseCheck(_ words: ArraySlice<Substring>, _ text: String) {
        if words == ["ok"] {
            // A failure, once told, stands.
            if check == nil { check = .passed }
        } else if words.first == "failed", let fields = Self.fields(words.dropFirst(), ["expected", "got"]) {
            check = .failed(expected: fields[0], got: fields[1])
        } else {
            fail("malformed check \(Self.quoted(text))")
        }
    }

    /// The values of `name=value` words with exactly these names in this order.
    private static func fields(_ words: ArraySlice<Substring>, _ names: [String]) -> [String]? {
        guard words.count == names.count else { return nil }
        var values: [String] = []
        for (word, name) in zip(words, names) {
            guard word.hasPrefix(name + "=") else { return nil }
            values.append(String(word.dropFirst(name.count + 1)))
        }
        return values
    }

    /// Names go into reports as keys: letters, digits, dot, dash and underscore, at most 64.
    static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }

    /// The beginning of `text` for a message, control characters escaped.
    private static func quoted(_ text: String) -> String { String(text.prefix(80)).debugDescription }
}
