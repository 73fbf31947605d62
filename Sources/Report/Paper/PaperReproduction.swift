import Foundation
import Results

/// The tables of Adams and Agesen (ASPLOS 2006) as a report of `Workloads/suites/adams-agesen-2006.json` has them for this host.
///
/// Every figure is of the report or of `PublishedFigures`; what the report lacks is unavailable with its reason.
public struct PaperReproduction: Sendable {
    /// Name of the paper in suites (`reproduces`) and of the file with the text.
    public static let name = "adams-agesen-2006"

    /// A technique as run here.
    struct Column: Sendable, Equatable {
        var title: String
        var backend: String
        var variant: String
    }

    /// Figures of one thing under every column, in the columns' order.
    struct Row: Sendable {
        var name: String
        var figures: [Figure]
    }

    /// The paper's software VMM runs ring 3 directly and translates ring 0; that is variant `direct` here.
    static let columns = [
        Column(title: "native", backend: "native", variant: "default"),
        Column(title: "software, direct", backend: "software", variant: "direct"),
        Column(title: "software", backend: "software", variant: "default"),
        Column(title: "hardware", backend: "kvm", variant: "default"),
    ]
    static let native = 0
    static let software = [1, 2]
    static let hardware = 3

    /// Cycles of an operation.
    let nanobenchmarks: [(benchmark: PaperNanobenchmark, row: Row)]
    /// Cycles of operations that the paper does not have, by the program's phase.
    let furtherNanobenchmarks: [Row]
    /// Nanoseconds of one fork, exit and wait.
    let forkwait: Row
    /// Programs that compute: times native.
    let compute: [Row]
    /// Their geometric means.
    let computeMean: Row
    /// A compiler, a database and others that use the kernel: times native.
    let applications: [Row]
    /// Overheads of starting and stopping a guest, by source.
    let bootHalt: BootHaltBreakdown
    /// Whether KVM here is VT-x or AMD-V; nil where the report does not say.
    let isHardwareAssisted: Bool?
    /// KVM's flavour, such as `pvm`.
    let flavour: String?
    let generator: Generator
    let host: HostRecord
    let started: Date
    /// Workloads or backends that gave nothing, each with the reason.
    let absences: [String]

    /// - Parameter report: analysed.
    public init(_ report: RunReport) {
        let figures = ReportFigures(report)
        func row(_ name: String, _ figure: (Column) -> Figure) -> Row {
            Row(name: name, figures: Self.columns.map(figure))
        }
        nanobenchmarks = PaperNanobenchmark.allCases.map { benchmark in
            (
                benchmark,
                row(benchmark.name) { figures.cycles("nanobench", $0.backend, $0.variant, metric: benchmark.name) }
            )
        }
        let papers = Set(PaperNanobenchmark.allCases.map(\.name))
        var further: [String] = []
        for cell in report.cells where cell.workload == "nanobench" {
            for metric in cell.analysis?.metrics ?? []
            where metric.unit == .nanosecondsPerOperation && !papers.contains(metric.name)
                && !further.contains(metric.name)
            {
                further.append(metric.name)
            }
        }
        furtherNanobenchmarks = further.map { name in
            row(name) { figures.cycles("nanobench", $0.backend, $0.variant, metric: name) }
        }
        forkwait = row("forkwait") { figures.time("forkwait", $0.backend, $0.variant) }
        let workloads = Self.workloads(report)
        func slowdowns(_ names: [String]) -> [Row] {
            names.map { name in row(name) { figures.slowdown(name, $0.backend, $0.variant) } }
        }
        compute = slowdowns(workloads.filter { SoftwareTargets.programNames.contains($0) })
        computeMean = Self.geometricMeans(compute)
        applications = slowdowns(
            workloads.filter {
                !SoftwareTargets.programNames.contains($0)
                    && !["nanobench", "forkwait", Self.bootWorkload].contains($0)
            })
        bootHalt = BootHaltBreakdown(report, workload: Self.bootWorkload)
        let kvm = report.backends.first { $0.name == "kvm" }
        if case .bool(let assisted)? = kvm?.facts["hardwareAssisted"] {
            isHardwareAssisted = assisted
        } else {
            isHardwareAssisted = nil
        }
        if case .string(let name)? = kvm?.facts["flavour"] { flavour = name } else { flavour = nil }
        generator = report.generator
        host = report.host
        started = report.started
        absences =
            report.backends.filter { !$0.available }.map { "\($0.name): \($0.reason ?? "not available")" }
            + (report.complete ? [] : ["the run is incomplete: \(report.incompleteReason ?? "no reason given")"])
    }

    /// Starts, does next to nothing, and ends.
    static let bootWorkload = "boot-halt"

    private static func workloads(_ report: RunReport) -> [String] {
        var names: [String] = []
        for cell in report.cells where !names.contains(cell.workload) { names.append(cell.workload) }
        return names
    }

    private static func geometricMeans(_ rows: [Row]) -> Row {
        let figures = columns.indices.map { column -> Figure in
            if column == native { return Figure(1) }
            let values = rows.map { $0.figures[column] }
            if let missing = values.first(where: { $0.value == nil }) { return missing }
            guard !values.isEmpty else { return .unavailable(reason: "no program that computes was run") }
            return Figure(geometricMeanOf: values.compactMap(\.value))
        }
        return Row(name: "geometric mean", figures: figures)
    }

    // MARK: Verdicts

    /// The fastest of the columns' software VMM and the hardware VMM; nil where one has no figure.
    static func winner(_ row: Row) -> (technique: PaperTechnique, software: Double, hardware: Double)? {
        let software = software.compactMap { row.figures[$0].value }.min()
        guard let software, let hardware = row.figures[hardware].value else { return nil }
        return (software <= hardware ? .software : .hardware, software, hardware)
    }
}
