import Results
import Testing

@testable import Report

struct PooledLedgerTests {
    /// Two trials of 1 ms and 3 ms at the sample's 2 GHz, and one that failed.
    private func report() -> RunReport {
        func trial(_ milliseconds: Double, _ exits: [ExitRecord]) -> TrialResult {
            var result = SampleReport.passed(rounds: [100], exits: exits)
            result.bootNanoseconds = milliseconds * 0.25e6
            result.programNanoseconds = milliseconds * 0.75e6
            return result
        }
        var failed = SampleReport.failed(.timeout, "no end after 30 s")
        failed.exits = [SampleReport.exit("cpuid", count: 7, totalCycles: 70)]
        var report = SampleReport.empty()
        report.cells = [
            SampleReport.cell("w", "native", [SampleReport.passed(rounds: [100])]),
            SampleReport.cell(
                "w", "software",
                [
                    trial(
                        1,
                        [
                            ExitRecord(
                                reason: "system-call", count: 3,
                                times: ExitTimes(
                                    totalCycles: 300_000, minimumCycles: 10,
                                    maximumCycles: 200_000, medianCycles: 1000, p99Cycles: 200_000)),
                            SampleReport.exit("cpuid", count: 1, totalCycles: 2000),
                        ]),
                    trial(
                        3,
                        [
                            ExitRecord(
                                reason: "system-call", count: 1,
                                times: ExitTimes(
                                    totalCycles: 100_000, minimumCycles: 100_000,
                                    maximumCycles: 100_000, medianCycles: 3000, p99Cycles: 100_000)),
                            SampleReport.exit("halt", count: 1, totalCycles: 1_000_000),
                        ]),
                    failed,
                ]),
            CellRecord(workload: "w", backend: "kvm", plannedTrials: 1, skipped: "no /dev/kvm"),
        ]
        return report
    }

    @Test func trialsThatPassedArePooled() throws {
        let listing = LedgerListing(report(), backend: "software")
        let ledger = try #require(listing.entries.first?.ledger)
        #expect(listing.entries.count == 1)
        #expect(ledger.trials == 2)
        #expect(ledger.nanoseconds == 4e6)
        #expect(ledger.exits.map(\.reason) == ["halt", "system-call", "cpuid"])
        let calls = ledger.exits[1]
        #expect(calls.count == 4)
        #expect(calls.meanCycles == 100_000)
        #expect(calls.minimumCycles == 10)
        #expect(calls.maximumCycles == 200_000)
        #expect(calls.medianCycles == 2000)
        #expect(calls.p99Cycles == 150_000)
        #expect(ledger.count == 6)
        #expect(ledger.busyCycles == 402_000)
    }

    @Test func cellsWithoutALedgerSayWhy() {
        let listing = LedgerListing(report())
        #expect(listing.entries.map(\.missing) == ["a native program has no VM exits", nil, "no /dev/kvm"])
        #expect(LedgerListing(report(), workload: "other").entries.isEmpty)
    }

    @Test func theTableHasCountsSharesAndTimes() {
        let lines = LedgerTable.text(LedgerListing(report())).split(separator: "\n", omittingEmptySubsequences: false)
        let expected = """
            w on software: 2 trials, 4.00 ms of run time
            REASON       SAMPLES EXITS%   TOTAL RUN%  MIN MEAN  P50  P99  MAX
            halt               1   16.7  500 µs 12.5 0.00  500 0.00 0.00  500
            system-call        4   66.7  200 µs  5.0 0.01 50.0 1.00 75.0  100
            cpuid              1   16.7 1.00 µs <0.1 0.00 1.00 0.00 0.00 1.00
            all but halt       5         201 µs  5.0
            """
        #expect(lines.prefix(6).joined(separator: "\n") == expected)
        #expect(lines.contains("native has no ledger of w: a native program has no VM exits"))
        #expect(lines.contains("kvm has no ledger of w: no /dev/kvm"))
        #expect(lines.allSatisfy { $0.count <= 80 })
    }

    @Test func withoutATSCFrequencyThereAreCyclesAndNoShares() {
        var report = report()
        report.host.tscHertz = nil
        let text = LedgerTable.text(LedgerListing(report))
        #expect(text.contains("system-call        4   66.7  400 k    – 10.0  100k 2.00k 150k  200k"))
        #expect(text.contains("The TSC frequency is unknown"))
    }

    @Test func theWidestReasonsAndLargeFiguresFitATerminal() {
        var report = SampleReport.empty()
        let exit = ExitRecord(
            reason: "emulated-instruction", count: 9_999_999,
            times: ExitTimes(
                totalCycles: 9_999_999_000, minimumCycles: 100,
                maximumCycles: 199_000_000, medianCycles: 900_000, p99Cycles: 19_000_000))
        report.cells = [SampleReport.cell("w", "software", [SampleReport.passed(rounds: [1], exits: [exit])])]
        for unit in LedgerTable.Unit.allCases {
            let text = LedgerTable.text(LedgerListing(report), unit: unit)
            #expect(text.contains("9999999"))
            #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 })
        }
    }
}
