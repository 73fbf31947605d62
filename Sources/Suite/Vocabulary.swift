/// The names that a suite may refer to.
public struct Vocabulary: Sendable {
    /// Backends of this version.
    public static let backends = ["native", "kvm", "software", "qemu-tcg", "qemu-kvm"]
    /// Those of a suite that names none.
    public static let defaultBackends = ["native", "kvm", "software"]

    /// Publications that a suite may reproduce.
    public static let publications = ["adams-agesen-2006"]

    public var backends: [String]
    /// Built-in programs; nil accepts any well-formed name.
    public var programs: [String]?
    /// Why a backend cannot use these options, or nil.
    public var optionProblem: @Sendable (_ backend: String, _ options: [String: String]) -> String?

    public init(
        backends: [String] = Vocabulary.backends, programs: [String]? = nil,
        optionProblem: @escaping @Sendable (String, [String: String]) -> String? = { _, _ in nil }
    ) {
        self.backends = backends
        self.programs = programs
        self.optionProblem = optionProblem
    }
}

/// Defaults and bounds of suite values. The JSON Schema repeats them; a test holds the two together.
public enum Limits {
    public static let defaultTrials = 5
    public static let defaultMemoryBytes: UInt64 = 128 << 20
    public static let defaultTimeLimitSeconds = 60.0

    public static let trials = 1...10_000
    /// A guest page, which memory must be a multiple of.
    public static let pageBytes: UInt64 = 4096
    /// The kernel image, its page tables and a small program do not fit into less.
    public static let memoryBytes: ClosedRange<UInt64> = (16 << 20)...(1 << 40)
    /// Up to a day.
    public static let timeLimitSeconds = 0.001...86_400.0
    public static let generatedBytes: ClosedRange<UInt64> = 0...(16 << 30)
    /// Highest CPU number plus one that Linux can be built for (CONFIG_NR_CPUS on x86-64).
    public static let cpus = 0...8191
    /// Seeds are exact in every JSON reader up to here (RFC 8259 section 6).
    public static let seeds: ClosedRange<UInt64> = 0...((1 << 53) - 1)
    public static let warmupRounds = 1...1_000_000
    /// A suite file larger than this is refused.
    public static let fileBytes = 16 << 20
}
