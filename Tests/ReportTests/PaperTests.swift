import Results
import Testing

@testable import Report

struct PaperTests {
    private static let hertz = 2e9

    /// Every nanobenchmark takes these cycles an operation natively, under the software VMM (direct, then default) and under KVM.
    private func report(
        native: Double? = 10, direct: Double = 40, software: Double = 20, hardware: Double? = 400,
        assisted: Bool = false
    ) -> RunReport {
        var report = SampleReport.empty(
            resolved: ["name": "s", "workloads": [], "reproduces": "adams-agesen-2006"])
        report.complete = true
        report.backends = [
            BackendRecord(name: "native", available: true),
            BackendRecord(
                name: "kvm", available: true,
                facts: ["flavour": .string(assisted ? "intel" : "pvm"), "hardwareAssisted": .bool(assisted)]),
            BackendRecord(name: "software", available: true),
        ]
        let columns = [
            ("native", "default", native), ("software", "direct", direct), ("software", "default", software),
            ("kvm", "default", hardware),
        ]
        for (backend, variant, cycles) in columns {
            guard let cycles else { continue }
            let nanoseconds = cycles / Self.hertz * 1e9
            var nanobench = SampleReport.passed(rounds: [])
            for benchmark in PaperNanobenchmark.allCases {
                nanobench.samples += [1, 2, 3].map { _ in
                    Sample(phase: benchmark.name, nanoseconds: nanoseconds * 100, operations: 100)
                }
            }
            nanobench.samples.append(Sample(phase: "world-switch", nanoseconds: nanoseconds, operations: 1))
            report.cells.append(SampleReport.cell("nanobench", backend, [nanobench, nanobench], variant: variant))
            for name in ["forkwait", "compute", "matmul", "sqlite"] {
                let trial = SampleReport.passed(rounds: [nanoseconds, nanoseconds, nanoseconds])
                report.cells.append(SampleReport.cell(name, backend, [trial, trial], variant: variant))
            }
        }
        report.analyze()
        return report
    }

    @Test func cyclesComeFromTheNanobenchmarksOfEachColumn() throws {
        let paper = PaperReproduction(report())
        #expect(paper.nanobenchmarks.count == 7)
        for (_, row) in paper.nanobenchmarks { #expect(row.figures.compactMap(\.value) == [10, 40, 20, 400]) }
        #expect(paper.furtherNanobenchmarks.map(\.name) == ["world-switch"])
        #expect(paper.forkwait.figures.compactMap(\.value) == [5, 20, 10, 200])
    }

    @Test func slowdownsAreOfComputingProgramsAndOfOthers() throws {
        let paper = PaperReproduction(report())
        #expect(paper.compute.map(\.name) == ["compute", "matmul"])
        #expect(paper.applications.map(\.name) == ["sqlite"])
        let mean = try #require(paper.computeMean.figures[PaperReproduction.hardware].value)
        #expect(abs(mean - 40) < 1e-9)
    }

    @Test func theFindingOnComputingProgramsIsHeldAgainstTheMeans() {
        #expect(PaperMarkdown.text(PaperReproduction(report())).contains("Here it does not: the slowest mean is 40.0"))
        let near = report(native: 10, direct: 10, software: 10.1, hardware: 10.2)
        #expect(PaperMarkdown.text(PaperReproduction(near)).contains("So it does here."))
    }

    @Test func verdictsAreOfTheMeasuredFigures() throws {
        let software = PaperMarkdown.text(PaperReproduction(report()))
        #expect(
            software.contains("In 2006 the hardware VMM was faster; here the software VMM is, by a factor of 20.0."))
        #expect(software.contains("In 2006 the software VMM was faster, and is here, by a factor of 20.0."))
        let hardware = PaperMarkdown.text(PaperReproduction(report(hardware: 10)))
        #expect(
            hardware.contains("In 2006 the software VMM was faster; here the hardware VMM is, by a factor of 2.00."))
    }

    @Test func saysWhatTheHardwareColumnIs() {
        #expect(PaperMarkdown.text(PaperReproduction(report())).contains("not VT-x or AMD-V"))
        #expect(!PaperMarkdown.text(PaperReproduction(report(assisted: true))).contains("not VT-x or AMD-V"))
    }

    @Test func aMissingFigureIsADashWithItsReason() throws {
        let text = PaperMarkdown.text(PaperReproduction(report(hardware: nil)))
        #expect(text.contains("nanobench was not run on kvm/default"))
        #expect(text.contains("here one of them has no figure"))
    }

    @Test func forkwaitIsScaledToThePapersNumber() {
        // 5 ns, 40,000 times.
        #expect(PaperMarkdown.text(PaperReproduction(report())).contains("200 µs, 1.00 ×"))
    }

    @Test func publishedFiguresStandBesideTheHosts() {
        let text = PaperMarkdown.text(PaperReproduction(report()))
        for figure in ["12,733", "106.4 s", "3,209", "2,409", "about 1.04"] { #expect(text.contains(figure)) }
    }

    private func exit(_ reason: String, count: UInt64, totalCycles: UInt64, in phase: String) -> ExitRecord {
        var record = SampleReport.exit(reason, count: count, totalCycles: totalCycles)
        record.phase = phase
        return record
    }

    @Test func bootAndHaltAreByReasonAndPhase() throws {
        var report = report()
        var trial = SampleReport.passed(rounds: [1])
        trial.exits = [
            exit("translation", count: 10, totalCycles: 2_000_000, in: "boot"),
            exit("translation", count: 5, totalCycles: 1_000_000, in: "shutdown"),
            exit("translation", count: 99, totalCycles: 9_000_000, in: "program"),
        ]
        trial.bootNanoseconds = 3e6
        report.cells.append(
            SampleReport.cell(PaperReproduction.bootWorkload, "software", [trial, trial], variant: "direct"))
        report.analyze()
        let technique = try #require(PaperReproduction(report).bootHalt.techniques.first)
        #expect(technique.counts == ["translation": 15])
        #expect(technique.nanoseconds["translation"] == 1.5e6)
        #expect(technique.boot.value == 3e6)
        #expect(PaperMarkdown.text(PaperReproduction(report)).contains("1.50 ms (15)"))
    }

    @Test func barsAreLogarithmic() {
        let chart = LogScaleChart(
            groups: [
                .init(
                    name: "x",
                    bars: [
                        .init(label: "a", value: 10, note: "10"), .init(label: "b", value: 1000, note: "1,000"),
                        .init(label: "c", value: nil, note: "not measured"),
                    ])
            ], width: 44)
        let lines = chart.render().split(separator: "\n").map(String.init)
        let lengths = lines.map { line in line.count { $0 == "█" } }
        #expect(lengths == [0, lengths[1], 3 * lengths[1], 0])
        #expect(lengths[1] > 3)
        #expect(lines[3].hasSuffix("– not measured"))
        #expect(lines.allSatisfy { $0.count <= 44 })
    }

    @Test func cyclesAreInFullWithSeparators() {
        #expect(NumberText.cycles(0.25) == "0.25")
        #expect(NumberText.cycles(72.4) == "72")
        #expect(NumberText.cycles(12733) == "12,733")
        #expect(NumberText.cycles(1_234_567) == "1,234,567")
    }
}
