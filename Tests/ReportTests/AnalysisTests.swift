import Results
import Testing

@testable import Report

struct AnalysisTests {
    private func analysis(_ cells: [CellRecord], resolved: JSON = ["workloads": []]) -> [CellAnalysis] {
        var report = SampleReport.empty(resolved: resolved)
        report.cells = cells
        report.analyze()
        return report.cells.map { $0.analysis! }
    }

    @Test func timeIsTheMedianOfTrialsMedians() {
        let analysis = analysis([
            SampleReport.cell(
                "w", "native",
                [[1, 100, 2], [5, 5, 5], [9, 8, 7]].map { SampleReport.passed(rounds: $0) })
        ])[0]
        #expect(analysis.metrics[0].trialTimes.map(\.nanoseconds) == [2, 5, 8])
        #expect(analysis.metrics[0].time.value == 5)
        #expect(analysis.metrics[0].unit == .nanosecondsPerOperation)
        #expect(analysis.metrics[0].slowdown == Figure(1))
        #expect(analysis.trialsPassed == 3)
    }

    @Test func slowdownPairsTrialsByIndex() throws {
        // The host slows down by a factor of ten from trial to trial: pairs do not care.
        let kvm = SampleReport.cell("w", "kvm", [2, 20, 200].map { SampleReport.passed(rounds: [$0]) })
        var native = SampleReport.cell("w", "native", [1, 10, 100].map { SampleReport.passed(rounds: [$0]) })
        native.trials.reverse()
        let slowdown = try #require(analysis([native, kvm])[1].metrics[0].slowdown.estimate)
        #expect(abs(slowdown.value - 2) < 1e-12)
        #expect(try #require(slowdown.interval).upper < 2.001)
    }

    @Test func onlyPairsThatPassedCount() throws {
        let native = SampleReport.cell(
            "w", "native",
            [SampleReport.passed(rounds: [10]), SampleReport.failed(.timeout, "t"), SampleReport.passed(rounds: [10])])
        let kvm = SampleReport.cell(
            "w", "kvm",
            [SampleReport.passed(rounds: [20]), SampleReport.passed(rounds: [999]), SampleReport.failed(.timeout, "t")])
        let result = analysis([native, kvm])[1]
        #expect(abs(result.metrics[0].slowdown.value! - 2) < 1e-12)
        #expect(result.metrics[0].slowdown.estimate?.interval == nil)
        #expect(result.trialsFailed == 1)
    }

    @Test func withoutANativeTimeTheSlowdownSaysWhy() {
        let kvm = SampleReport.cell("w", "kvm", [SampleReport.passed(rounds: [20])])
        #expect(analysis([kvm])[0].metrics[0].slowdown == .unavailable(reason: "no native time to compare with"))
        let native = SampleReport.cell("w", "native", [SampleReport.failed(.childDied, "x")])
        #expect(analysis([native, kvm])[1].metrics[0].slowdown.value == nil)
    }

    @Test func warmUpIsLeftOutAsTheSuiteSays() {
        let rounds = [900.0, 800] + [Double](repeating: 10, count: 10) + [11]
        let cell = SampleReport.cell("w", "native", [SampleReport.passed(rounds: rounds)])
        let detected = analysis([cell], resolved: ["warmup": "detect"])[0].metrics[0]
        #expect(detected.time.value == 10)
        #expect(detected.warmup.discardedRounds == 2)
        #expect(detected.warmup.totalRounds == 13)
        #expect(detected.warmup.method == "MSER")
        #expect(detected.outliers.samples == 11)
        #expect(detected.outliers.highSevere == 1)
        let none = analysis([cell], resolved: ["warmup": "none"])[0].metrics[0]
        #expect(none.warmup.discardedRounds == 0)
        #expect(none.outliers.highSevere == 3)
        let one = analysis([cell], resolved: ["warmup": ["discard": 1]])[0].metrics[0]
        #expect(one.warmup.discardedRounds == 1)
        let all = analysis([cell], resolved: ["warmup": ["discard": 1000]])[0].metrics[0]
        #expect(all.time.value == 11)
    }

    @Test func phasesAreMetricsOfTheirOwn() {
        var result = SampleReport.passed(rounds: [4, 4], phase: "4K")
        result.samples += [Sample(phase: "16M", nanoseconds: 1000, operations: 10)]
        let metrics = analysis([SampleReport.cell("w", "native", [result])])[0].metrics
        #expect(metrics.map(\.name) == ["4K", "16M"])
        #expect(metrics.map(\.time.value) == [4, 100])
    }

    @Test func aProgramWithoutRecordsIsTimedAsAWhole() {
        let metrics = analysis([SampleReport.cell("w", "native", [SampleReport.run(nanoseconds: 7e6)])])[0].metrics
        #expect(metrics.map(\.name) == ["run"])
        #expect(metrics[0].unit == .nanosecondsPerRun)
        #expect(metrics[0].time.value == 7e6)
    }

    @Test func anExitCodeTheSuiteDoesNotExpectIsAFailure() {
        var result = SampleReport.passed(rounds: [1])
        result.status = .exited(code: 2)
        let cell = SampleReport.cell("w", "native", [result])
        #expect(analysis([cell])[0].failures == ["exit code 2 instead of 0"])
        let expecting: JSON = ["workloads": [["name": "w", "expected": ["exitCode": 2]]]]
        #expect(analysis([cell], resolved: expecting)[0].trialsPassed == 1)
    }

    @Test func failuresAreCountedMostFrequentFirst() {
        let results = ["b", "a", "a", "c"].map { SampleReport.failed(.timeout, $0) }
        let analysis = analysis([SampleReport.cell("w", "kvm", results)])[0]
        #expect(analysis.failures == ["a", "b", "c"])
        #expect(analysis.metrics.isEmpty)
    }

    @Test func timesThatAreNoTimesGiveNoMetric() {
        #expect(analysis([SampleReport.cell("w", "kvm", [SampleReport.passed(rounds: [0, 0])])])[0].metrics.isEmpty)
        #expect(analysis([SampleReport.cell("w", "kvm", [SampleReport.run(nanoseconds: 0)])])[0].metrics.isEmpty)
    }

    /// 900 exits of 2,000 cycles at 2 GHz: 1 µs each, 0.9 ms of the second that the machine ran. A halt is waiting.
    @Test func exitsAreCountedAndPriced() {
        let analysis = SampleReport.full().cells[1].analysis!
        #expect(analysis.exitsPerSecond.value == 1000)
        #expect(analysis.meanExitNanoseconds.value == 1000)
        #expect(abs(analysis.exitTimeShare.value! - 0.0009) < 1e-12)
    }

    @Test func exitsThatWereNotCountedSayWhy() {
        let native = SampleReport.full().cells[0].analysis!
        #expect(native.exitsPerSecond == .unavailable(reason: "a native program has no VM exits"))
        var report = SampleReport.full()
        report.host.tscHertz = nil
        report.analyze()
        #expect(report.cells[1].analysis!.exitsPerSecond.value == 1000)
        #expect(
            report.cells[1].analysis!.meanExitNanoseconds == .unavailable(reason: "the TSC frequency is unknown"))
    }

    @Test func theVictimIsComparedWithItselfAlone() {
        let placements = SampleReport.full().colocations[0].placements
        #expect(placements.map { $0.analysis!.time.value } == [50, 100, nil])
        #expect(placements[0].analysis!.slowdown.value == 1)
        #expect(abs(placements[1].analysis!.slowdown.value! - 2) < 1e-12)
        #expect(placements[2].analysis!.slowdown.value == nil)
        #expect(placements[2].analysis!.time.reason == "this host has one CPU")
    }

    @Test func theSameReportGivesTheSameNumbers() {
        #expect(SampleReport.full() == SampleReport.full())
    }
}
