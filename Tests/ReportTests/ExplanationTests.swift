import Results
import Testing

@testable import Report

struct ExplanationTests {
    /// Trials of two rounds of one operation each; the ledger is of 3,400 ns more than these.
    private static func trials(_ nanoseconds: Double, exits: [ExitRecord]?, count: Int = 3) -> [TrialResult] {
        (0..<count).map { _ in
            var result = SampleReport.passed(rounds: [nanoseconds, nanoseconds], exits: exits)
            result.bootNanoseconds = 3000
            result.programNanoseconds = 2 * nanoseconds + 400
            return result
        }
    }

    /// Native takes 100 ns an operation, kvm 2,100 and software 1,100. At the sample's 2 GHz an operation has on kvm one exit of 100 ns; on
    /// software one of 200 ns, and half a translation of 600 ns.
    private func report(translationCycles: UInt64 = 1200) -> RunReport {
        var report = SampleReport.empty()
        report.backends = [
            BackendRecord(name: "kvm", available: true, facts: ["flavour": "pvm", "hardwareAssisted": false])
        ]
        report.cells = [
            SampleReport.cell("w", "native", Self.trials(100, exits: nil)),
            SampleReport.cell(
                "w", "kvm", Self.trials(2100, exits: [SampleReport.exit("port-io", count: 2, totalCycles: 400)])),
            SampleReport.cell(
                "w", "software",
                Self.trials(
                    1100,
                    exits: [
                        SampleReport.exit("system-call", count: 2, totalCycles: 800),
                        SampleReport.exit("translation", count: 1, totalCycles: translationCycles),
                        SampleReport.exit("halt", count: 1, totalCycles: 1 << 40),
                    ])),
        ]
        for trial in report.cells[1].trials.indices {
            report.cells[1].trials[trial].result.counters = ["kvm.stats.exits": 6]
            report.cells[1].trials[trial].result.countersUnavailable = [
                "kvm.exitLatency.inKernel": "counted, not timed"
            ]
        }
        return report
    }

    private func account(_ explanation: Explanation, _ name: String) throws -> CostAccount {
        try #require(explanation.accounts.first { $0.name == name })
    }

    private func expect(_ value: Double?, _ expected: Double, _ location: SourceLocation = #_sourceLocation) {
        #expect(
            value.map { abs($0 - expected) < 1e-6 } == true, "\(String(describing: value))", sourceLocation: location)
    }

    @Test func exitsAndResidualAddUpToTheOverhead() throws {
        let software = try account(Explanation(report(), workload: "w"), "software")
        let exits = try #require(software.exits)
        expect(software.native.value, 100)
        expect(software.time.value, 1100)
        expect(software.overhead.value, 1000)
        expect(software.slowdown.value, 11)
        #expect(exits.exits.map(\.reason) == ["halt", "translation", "system-call"])
        expect(exits.nanoseconds(of: "system-call"), 200)
        expect(exits.nanoseconds(of: "translation"), 300)
        expect(exits.exits[1].count, 0.5)
        expect(exits.exits[1].meanNanoseconds, 600)
        // Waiting is not in it.
        expect(exits.sum, 500)
        expect(software.residual.value, 500)
        // 5,600 ns of which 2,200 are rounds: 3,400 for two operations.
        expect(exits.coveredNanoseconds, 5600)
        expect(exits.timedShare, 2200 / 5600)
        expect(exits.outsideNanoseconds, 1700)
    }

    @Test func aNegativeResidualIsShown() throws {
        // 3,000 ns an operation.
        let explanation = Explanation(report(translationCycles: 12_000), workload: "w")
        expect(try account(explanation, "software").residual.value, -2200)
        let text = ExplanationText.text(explanation)
        #expect(text.contains("−2.20 µs"))
        #expect(text.contains("−220 %"))
        let flat = text.replacing("\n  ", with: " ")
        #expect(flat.contains("The sum is more than an operation takes at all"))
        #expect(flat.contains("The most on kvm is what is in no timed exit, 1.90 µs an operation"))
        // 500 + 200 of 1,100 ns, and the overhead 600.
        var slow = report(translationCycles: 2000)
        slow.cells[0] = SampleReport.cell("w", "native", Self.trials(500, exits: nil))
        #expect(ExplanationText.text(Explanation(slow, workload: "w")).contains("The residual is negative, −100 ns"))
    }

    @Test func differencesByReasonAddUpToThatOfTheOverheads() throws {
        let contest = try #require(Explanation(report(), workload: "w").techniques)
        #expect(contest.winner.name == "software")
        expect(contest.ratio.value, 2100.0 / 1100)
        #expect(contest.differences.map(\.reason) == [nil, "port-io", "system-call", "translation"])
        for (difference, expected) in zip(contest.differences, [1400, 100, -200, -300]) {
            expect(difference.nanoseconds, Double(expected))
        }
        expect(contest.differences.reduce(0) { $0 + $1.nanoseconds }, 1000)
    }

    @Test func theTextSaysWhereWhoAndWhatNot() {
        let text = ExplanationText.text(Explanation(report(), workload: "w"))
        let flat = text.replacing("\n  ", with: " ")
        #expect(flat.contains("software: the overhead is 1.00 µs an operation."))
        #expect(
            flat.contains(
                "Timed exits add up to 500 ns, 50.0 % of it, most in translation (300 ns, 0.500 exits an operation)"))
        #expect(flat.contains("could make up the whole sum."))
        #expect(flat.contains("The residual, 500 ns (50.0 %), is in no timed exit."))
        #expect(
            flat.contains(
                "KVM itself counted 3.00 exits an operation, boot included. They are not timed: counted, not timed."))
        #expect(flat.contains("software wins: kvm takes 1.91 [1.91, 1.91] times the time of software."))
        #expect(
            flat.contains(
                "The largest difference is what is in no timed exit, 1.90 µs an operation on kvm and 500 ns on software."
            ))
        #expect(
            flat.contains("Against that stands exits for translation, 300 ns an operation on software and 0 ns on kvm;")
        )
        #expect(flat.contains("not hardware-assisted on this host"))
        #expect(flat.contains("signal"))
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 })
    }

    @Test func noWinnerIsNamedInNoiseOrOfOnePair() throws {
        var report = report()
        // Twice, the same and half as long as software.
        report.cells[1] = SampleReport.cell(
            "w", "kvm", [2200, 1100, 550].flatMap { Self.trials($0, exits: [], count: 1) })
        #expect(ExplanationText.text(Explanation(report, workload: "w")).contains("no winner is seen"))
        for cell in report.cells.indices { report.cells[cell].trials.removeLast(2) }
        let text = ExplanationText.text(Explanation(report, workload: "w")).replacing("\n  ", with: " ")
        #expect(text.contains("One pair of trials is no verdict."))
        #expect(text.contains("With one pair of trials nothing tells it from noise."))
    }

    @Test func variantsOfTheSoftwareVMMAreCompared() throws {
        var report = report()
        var fast = SampleReport.cell("w", "software", Self.trials(300, exits: []), variant: "translate")
        fast.options = ["userMode": "translate"]
        report.cells.append(fast)
        let explanation = Explanation(report, workload: "w")
        #expect(explanation.techniques?.winner.name == "software/translate")
        #expect(explanation.variants?.loser.name == "software")
        let text = ExplanationText.text(explanation).replacing("\n  ", with: " ")
        #expect(text.contains("software/translate (userMode=translate) 300 ns and software (no options) 1.10 µs"))
        #expect(text.contains("software/translate wins: software takes 3.67"))
    }

    @Test func whatIsMissingIsSaidWithTheReason() throws {
        var report = report()
        report.cells[0] = CellRecord(workload: "w", backend: "native", plannedTrials: 3, skipped: "not asked for")
        report.cells[1] = CellRecord(workload: "w", backend: "kvm", plannedTrials: 3, skipped: "no /dev/kvm")
        report.host.tscHertz = nil
        let explanation = Explanation(report, workload: "w")
        let software = try account(explanation, "software")
        expect(software.time.value, 1100)
        #expect(software.overhead.reason == "no trial passed both here and native")
        #expect(software.residual.reason == "no trial passed both here and native")
        #expect(software.exitsMissing == "the TSC frequency is unknown")
        #expect(try account(explanation, "kvm").time.reason == "no /dev/kvm")
        #expect(explanation.techniques == nil)
        let text = ExplanationText.text(explanation)
        #expect(text.contains("kvm has no time: no /dev/kvm."))
        #expect(text.contains("software: its overhead is not known: no trial passed both here and native."))
    }

    @Test func phasesAreTakenTogether() throws {
        // 2 operations of 100 ns and 10 of 7 ns, against 50 and 4.
        func trial(_ a: Double, _ b: Double, exits: [ExitRecord]?) -> TrialResult {
            var result = SampleReport.passed(rounds: [a, a], phase: "a", exits: exits)
            result.samples.append(Sample(phase: "b", nanoseconds: 10 * b, operations: 10))
            return result
        }
        var report = SampleReport.empty()
        report.cells = [
            SampleReport.cell("w", "native", [trial(50, 4, exits: nil)]),
            SampleReport.cell(
                "w", "software", [trial(100, 7, exits: [SampleReport.exit("cpuid", count: 4, totalCycles: 80)])]),
        ]
        let explanation = Explanation(report, workload: "w")
        #expect(explanation.unit == .trial(phases: ["a", "b"]))
        let software = try account(explanation, "software")
        expect(software.native.value, 140)
        expect(software.time.value, 270)
        expect(software.exits?.sum, 40)
        expect(software.residual.value, 90)
    }

    @Test func aProgramWithoutRoundsIsTakenAsAWhole() throws {
        var result = SampleReport.run(nanoseconds: 3000)
        result.bootNanoseconds = 1000
        result.exits = [SampleReport.exit("cpuid", count: 2, totalCycles: 1000)]
        var report = SampleReport.empty()
        report.cells = [
            SampleReport.cell("w", "native", [SampleReport.run(nanoseconds: 2000)]),
            SampleReport.cell("w", "software", [result]),
        ]
        let explanation = Explanation(report, workload: "w")
        #expect(explanation.unit == .run)
        let software = try account(explanation, "software")
        expect(software.overhead.value, 1000)
        expect(software.exits?.sum, 500)
        expect(software.residual.value, 500)
        expect(software.exits?.outsideNanoseconds, 1000)
    }
}
