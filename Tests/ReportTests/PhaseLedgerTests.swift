import Results
import Testing

@testable import Report

/// Reports whose ledgers tell phases apart.
struct PhaseLedgerTests {
    private static func line(
        _ phase: String, _ reason: String, count: UInt64, cycles: UInt64, handler: ExitRecord.Handler = .vmm,
        transition: UInt64? = nil
    ) -> ExitRecord {
        ExitRecord(
            phase: phase, reason: reason, rawReason: "raw", handler: handler, count: count,
            times: ExitTimes(
                totalCycles: cycles, minimumCycles: 1, maximumCycles: cycles, medianCycles: cycles / count,
                p99Cycles: cycles / count), transitionCycles: transition)
    }

    private static func inline(_ phase: String, _ reason: String, count: UInt64) -> ExitRecord {
        ExitRecord(
            phase: phase, reason: reason, rawReason: "trampoline", handler: .inline, count: count, times: nil,
            timesUnavailable: "not timed")
    }

    /// Four operations in rounds of 800 and 1,200 ns on software, of 100 ns an operation natively. At 2 GHz an operation on software has
    /// one system call of 50 ns, half a translation of 100 ns and a way of 300 ns to the VMM and back.
    private func report() -> RunReport {
        func trial(_ rounds: [Double]) -> TrialResult {
            var result = SampleReport.passed(rounds: [])
            result.samples = rounds.map { Sample(phase: "main", nanoseconds: $0, operations: 2) }
            result.programNanoseconds = 5000
            return result
        }
        var software = trial([800, 1200])
        software.exitsUnavailable = nil
        software.bootNanoseconds = 10_000
        software.exits = [
            Self.line("boot", "translation", count: 10, cycles: 10_000),
            Self.line("main", "system-call", count: 4, cycles: 400, transition: 600),
            Self.line("main", "translation", count: 2, cycles: 400),
            Self.line("program", "system-call", count: 7, cycles: 7000, transition: 600),
            Self.inline("main", "interrupt-return", count: 4),
        ]
        software.phases = [
            PhaseRecord(name: "boot", timed: false, entries: 1, cycles: 20_000, guestCycles: 10_000),
            PhaseRecord(name: "program", timed: false, entries: 3, cycles: 5000, guestCycles: 1000),
            PhaseRecord(name: "main", timed: true, entries: 2, cycles: 4000, guestCycles: 3200),
        ]
        var profile = software
        profile.exitSites = [
            ExitSiteRecord(phase: "main", function: "getpid", ring: 3, reason: "system-call", count: 4, cycles: 400),
            ExitSiteRecord(phase: "boot", function: "getpid", ring: 3, reason: "system-call", count: 1, cycles: 100),
            ExitSiteRecord(
                phase: "main", function: "a function with a name that is longer than its column", ring: 0,
                reason: "emulated-instruction", count: 1, cycles: 20),
        ]
        profile.exitSitesDropped = 3
        var report = SampleReport.empty()
        report.cells = [
            SampleReport.cell("w", "native", [trial([200, 200])]), SampleReport.cell("w", "software", [software]),
        ]
        report.cells[1].profile = profile
        return report
    }

    @Test func whatKVMHandledIsTakenFromTheProfile() throws {
        var report = report()
        report.cells[1].profile?.exits? += [
            Self.line("main", "emulated-instruction", count: 40, cycles: 800, handler: .kvm),
            Self.line("main", "halt", count: 2, cycles: 80, handler: .kvm),
            Self.line("boot", "emulated-instruction", count: 5000, cycles: 90_000, handler: .kvm),
        ]
        let exits = try #require(Explanation(report, workload: "w").accounts.first?.exits)
        #expect(exits.hasKernelExits)
        let cost = try #require(exits.exits.first { $0.reason == "emulated-instruction (kvm)" })
        #expect(cost.count == 10 && cost.nanoseconds == 100 && cost.meanNanoseconds == 10)
        #expect(exits.exits.first { $0.reason == "halt (kvm)" }?.isWaiting == true)
        #expect(exits.sum == 500, "halts are waiting")
        #expect(exits.guestNanoseconds == -10, "what KVM does is not the guest's own")
        #expect(exits.exits.map(\.nanoseconds) == exits.exits.map(\.nanoseconds).sorted(by: >))
    }

    @Test func withoutKVMsLinesAProfileChangesNothing() throws {
        let exits = try #require(Explanation(report(), workload: "w").accounts.first?.exits)
        #expect(!exits.hasKernelExits && exits.sum == 400)
    }

    @Test func explanationsAreOfTheRoundsAlone() throws {
        let account = try #require(Explanation(report(), workload: "w").accounts.first)
        let exits = try #require(account.exits)
        #expect(exits.isOfRounds && exits.outsideNanoseconds == 0 && exits.coveredNanoseconds == 2000)
        #expect(exits.exits.map(\.reason) == ["transition", "system-call", "translation"])
        #expect(exits.exits.map(\.nanoseconds) == [300, 50, 50])
        #expect(exits.exits.map(\.count) == [1, 1, 0.5])
        #expect(exits.inline.map(\.count) == [1])
        // 2,000 ns of four operations, less 100 natively.
        #expect(account.accounted.value == 400)
        #expect(exits.sum == 400 && account.residual.value == 0 && account.explainedShare == 1)
        // 400 ns an operation outside of the VMM, 300 of them on the way.
        #expect(exits.guestNanoseconds == 100)
    }

    @Test func theTextAddsUp() {
        let text = ExplanationText.text(Explanation(report(), workload: "w"))
        #expect(text.contains("transition       1.00     300 ns   300 ns       75.0 %"), "\(text)")
        #expect(text.contains("sum              1.50              400 ns        100 %"))
        #expect(text.contains("residual                             0 ns        0.0 %"))
        #expect(text.contains("overhead                           400 ns        100 %"))
        let flat = text.replacing("\n  ", with: " ")
        #expect(flat.contains("Translated code itself carried out 1.00 interrupt-return an operation"))
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 })
    }

    @Test func fasterThanNativeIsSaidInWords() {
        var report = report()
        report.cells[0].trials[0].result.samples = [800, 1600].map {
            Sample(phase: "main", nanoseconds: $0, operations: 2)
        }
        let text = ExplanationText.text(Explanation(report, workload: "w")).replacing("\n  ", with: " ")
        #expect(text.contains("software: there is no overhead: it is faster than native by 100 ns an operation."))
    }

    @Test func exitsByPhase() {
        let text = LedgerTable.text(LedgerListing(report(), backend: "software"), by: .phase)
        #expect(text.contains("w on software, boot: 1.00 stretches, 10.0 µs, 50.0 % of it outside of the VMM"))
        #expect(text.contains("w on software, main: 2.00 rounds, 2.00 µs, 80.0 % of it outside of the VMM"))
        #expect(text.contains("system-call       4   66.7 200 ns 10.0"), "\(text)")
        #expect(text.contains("Carried out by translated code itself: 4 interrupt-return"))
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 })
    }

    @Test func exitsByFunction() {
        let text = LedgerTable.text(LedgerListing(report(), backend: "software"), by: .function)
        #expect(text.contains("w on software: 6 exits in one profile trial, 3 more found no place"))
        #expect(text.contains("getpid                        3 system-call"), "\(text)")
        #expect(text.contains("a function with a name th…    0 emulated-instruction"), "\(text)")
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 })
        var plain = report()
        plain.cells[1].profile = nil
        #expect(
            LedgerTable.text(LedgerListing(plain, backend: "software"), by: .function).contains(
                "w on software: no profile trial was run"))
    }

    @Test func phasesOfAProgramAreExplainedOneByOne() throws {
        var report = report()
        for cell in 0..<2 {
            report.cells[cell].trials[0].result.samples.append(Sample(phase: "b", nanoseconds: 300, operations: 3))
        }
        report.cells[1].trials[0].result.phases?.append(
            PhaseRecord(name: "b", timed: true, entries: 1, cycles: 600, guestCycles: 500))
        report.cells[1].trials[0].result.exits?.append(Self.line("b", "cpuid", count: 3, cycles: 60))
        let whole = Explanation(report, workload: "w")
        #expect(whole.phases.map(\.name) == ["main", "b"])
        #expect(abs((whole.accounts[0].exits?.sum ?? 0) - 1630) < 1e-6)
        let one = Explanation(report, workload: "w", phase: "b")
        #expect(one.accounts[0].exits?.exits.map(\.reason) == ["cpuid"])
        #expect(one.accounts[0].exits?.sum == 10 && one.accounts[0].accounted.value == 0)
        #expect(ExplanationText.text(whole).contains("PHASE"))
    }
}
