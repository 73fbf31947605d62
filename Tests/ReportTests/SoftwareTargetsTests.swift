import Results
import Testing

@testable import Report

struct SoftwareTargetsTests {
    /// Native takes 100 ns an operation, the software VMM 100 times `factor`, translated twice and emulated 20 times that.
    private func report(factor: Double, programs: Int = 10) -> RunReport {
        var report = SampleReport.empty()
        func trials(_ nanoseconds: Double, phase: String = "main") -> [TrialResult] {
            [0, 1, 2].map { _ in
                SampleReport.passed(
                    rounds: [nanoseconds, nanoseconds], phase: phase,
                    exits: [SampleReport.exit("translation", count: 10, totalCycles: 1_000_000)])
            }
        }
        for name in SoftwareTargets.programNames.prefix(programs) {
            report.cells += [
                SampleReport.cell(name, "native", trials(100)),
                SampleReport.cell(name, "software", trials(100 * factor)),
                SampleReport.cell(name, "software", trials(200 * factor), variant: "translate"),
                SampleReport.cell(name, "qemu-tcg", trials(2000 * factor)),
            ]
        }
        report.cells.append(SampleReport.cell("nanobench", "software", trials(200, phase: "in")))
        for index in report.cells.indices where report.cells[index].backend == "software" {
            for trial in report.cells[index].trials.indices {
                report.cells[index].trials[trial].result.counters = [
                    "software.translatedInstructions": 1500, "launch.programStartNanoseconds": 30e6,
                ]
            }
        }
        report.analyze()
        return report
    }

    private func target(_ report: RunReport, _ part: String) throws -> Target {
        try #require(SoftwareTargets(report).targets.first { $0.what.contains(part) })
    }

    @Test func meansAreGeometricAndBoundsAreKept() throws {
        let good = report(factor: 1)
        #expect(try target(good, "default mode").measured.value.map { abs($0 - 1) < 1e-9 } == true)
        #expect(try target(good, "default mode").isReached == true)
        #expect(try target(good, "QEMU").measured.value.map { abs($0 - 20) < 1e-6 } == true)
        #expect(try target(good, "QEMU").isReached == true)
        #expect(try target(good, "programs, translate mode").isReached == false)
        #expect(try target(good, "slowest").isReached == true)
        let slow = report(factor: 1.5)
        #expect(try target(slow, "default mode").isReached == false)
        #expect(try target(slow, "slowest").measured.value.map { abs($0 - 3) < 1e-9 } == true)
        #expect(try target(slow, "slowest").isReached == false)
    }

    @Test func cyclesLaunchAndTranslationComeFromTheTrials() throws {
        // 200 ns at the sample's 2 GHz.
        #expect(try target(report(factor: 1), "IN from").measured.value == 400)
        #expect(try target(report(factor: 1), "launch").measured.value == 30e6)
        // 1500 instructions in 1,000,000 cycles of 0.5 ns.
        #expect(try target(report(factor: 1), "translated").measured.value.map { abs($0 - 3e6) < 1 } == true)
    }

    @Test func whatWasNotRunIsNotMeasured() throws {
        let few = report(factor: 1, programs: 7)
        #expect(try target(few, "default mode").isReached == nil)
        #expect(try target(few, "page fault").measured.reason == "page-touch was not run on software/default")
        let text = TargetsTable.text(SoftwareTargets(few), width: 80)
        #expect(text.contains("not measured: "))
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 })
    }

    @Test func theTableFitsATerminal() {
        let text = TargetsTable.text(SoftwareTargets(report(factor: 1)), width: 80)
        #expect(text.contains("compute programs, default mode"))
        #expect(text.contains("≤ 1.03"))
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 })
    }
}
