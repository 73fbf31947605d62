import Results

/// What the software VMM shall reach, taken from a report of `Workloads/suites/bench-software.json`.
public struct SoftwareTargets: Sendable {
    /// One program of the suite under each technique, as multiples of its native time.
    struct Program: Sendable {
        var name: String
        var adaptive: Figure
        var translated: Figure
        var emulated: Figure
    }

    /// Programs that compute, of as many kinds: integers, branches, floating point, vectors, recursion, indirect calls, strings,
    /// hashing, compression, an interpreter.
    static let programNames = [
        "compute", "queens", "fourier", "matmul", "recursive-call", "indirect-call", "strings", "hash", "compress",
        "interpreter",
    ]
    /// A mean over fewer programs says too little.
    private static let fewestPrograms = 8

    /// Groups of programs are geometric means.
    let programs: [Program]
    public let targets: [Target]

    /// - Parameter report: analysed.
    public init(_ report: RunReport) {
        let figures = ReportFigures(report)
        programs = Self.programNames.map { name in
            Program(
                name: name, adaptive: figures.slowdown(name, "software"),
                translated: figures.slowdown(name, "software", "translate"),
                emulated: figures.slowdown(name, "qemu-tcg"))
        }
        let against = programs.map { program in Self.quotient(program.emulated, program.adaptive) }
        targets = [
            Target(
                what: "compute programs, default mode", bound: .atMost(1.03), unit: .ratio,
                measured: Self.geometricMean(programs.map(\.adaptive))),
            Target(
                what: "compute programs, translate mode", bound: .atMost(1.25), unit: .ratio,
                measured: Self.geometricMean(programs.map(\.translated))),
            Target(
                what: "the slowest of them, translate mode", bound: .atMost(2), unit: .ratio,
                measured: Self.largest(programs.map(\.translated))),
            Target(
                what: "times faster than QEMU TCG", bound: .atLeast(10), unit: .ratio,
                measured: Self.geometricMean(against)),
            Target(
                what: "null system call, translate mode", bound: .atMost(2), unit: .ratio,
                measured: figures.slowdown("null-syscall", "software", "translate")),
            Target(
                what: "null system call, direct mode", bound: .atMost(25), unit: .ratio,
                measured: figures.slowdown("null-syscall", "software", "direct")),
            Target(
                what: "demand-zero page fault", bound: .atMost(4), unit: .ratio,
                measured: figures.slowdown("page-touch", "software")),
            Target(
                what: "fork, exit and wait", bound: .atMost(6), unit: .ratio,
                measured: figures.slowdown("forkwait", "software")),
            Target(
                what: "call and return in ring 0", bound: .atMost(5), unit: .ratio,
                measured: figures.slowdown("nanobench", "software", metric: "callret")),
            Target(
                what: "IN from an emulated port", bound: .atMost(300), unit: .cycles,
                measured: figures.cycles("nanobench", "software", metric: "in")),
            Target(
                what: "launch to first instruction in ring 3", bound: .atMost(40e6), unit: .nanoseconds,
                measured: figures.counter("launch.programStartNanoseconds", "software")),
            Target(
                what: "guest instructions translated", bound: .atLeast(1e6), unit: .perSecond,
                measured: figures.translationRate("software")),
        ]
    }

    // MARK: Arithmetic on figures

    private static func geometricMean(_ figures: [Figure]) -> Figure {
        let values = figures.compactMap(\.value).filter { $0 > 0 }
        guard values.count >= fewestPrograms else {
            let reason = figures.compactMap(\.reason).first ?? "no times"
            return .unavailable(reason: "\(values.count) programs have a time, not \(fewestPrograms) (\(reason))")
        }
        return Figure(geometricMeanOf: values)
    }

    private static func largest(_ figures: [Figure]) -> Figure {
        if let missing = figures.first(where: { $0.value == nil }) { return missing }
        return figures.compactMap(\.value).max().map { Figure($0) } ?? .unavailable(reason: "no program was run")
    }

    private static func quotient(_ a: Figure, _ b: Figure) -> Figure {
        guard let dividend = a.value else { return a }
        guard let divisor = b.value else { return b }
        return Figure(dividend / divisor)
    }
}
