import Results
import Testing

@testable import Report

struct SummaryTableTests {
    @Test func showsEveryCellAndSaysWhatWentWrong() {
        let expected = """
            WORKLOAD      BACKEND       TIME  SLOWDOWN [95 % CI]  EXITS/S  MEAN EXIT
            null-syscall  native   100 ns/op  1                         –          –
                          kvm      200 ns/op  2.00 [2.00, 2.00]    1.00 k    1.00 µs
            sort          native      1.10 s  1                         –          –
                          kvm         1.50 s  1.50 [no CI]              –          –
                          kvm      1 of 2 trials failed: no end after 30 s: raise
                                   "timeLimit"
            gzip          kvm      failed: the guest kernel panicked: page fault at 0x10
                          native   not run: no trial was run

            CO-LOCATION  BACKEND  VICTIM               TIME  SLOWDOWN [95 % CI]
            pair         kvm      alone          50.0 ns/op  1
                                  same CPU        100 ns/op  2.00 [2.00, 2.00]
                                  different CPU  not run: this host has one CPU

            kvm: KVM flavour pvm, not hardware-assisted
            software is unavailable: no CPUID faulting; use another CPU
            Of 21 rounds, 0 were warm-up (left out) and 0 outliers (kept).
            gzip: system calls that the guest kernel lacks: futex
            INCOMPLETE: interrupted.

            """
        #expect(SummaryTable.text(SampleReport.full()) == expected)
    }

    @Test func fitsEightyColumns() {
        var report = SampleReport.full()
        report.cells[5].trials[0].result = SampleReport.failed(
            .internalError, String(repeating: "a long story of what went wrong ", count: 20))
        report.backends[2].reason = String(repeating: "many words ", count: 20)
        report.analyze()
        let lines = SummaryTable.text(report).split(separator: "\n")
        #expect(lines.allSatisfy { $0.count <= 80 })
        #expect(lines.count > 25)
    }

    @Test func namesVariantsAndPhases() {
        var report = SampleReport.empty()
        var result = SampleReport.passed(rounds: [1.7], phase: "32K")
        result.samples.append(Sample(phase: "64M", nanoseconds: 95, operations: 1))
        report.cells = [SampleReport.cell("pointer-chase", "software", [result], variant: "small")]
        report.analyze()
        let lines = SummaryTable.text(report).split(separator: "\n")
        #expect(lines[1] == "pointer-chase")
        #expect(lines[2].hasPrefix("  32K          software/small  1.70 ns/op"))
        #expect(lines[3].hasPrefix("  64M          software/small  95.0 ns/op"))
    }

    @Test func controlCharactersOfAGuestDoNotReachTheTerminal() {
        var report = SampleReport.empty()
        report.cells = [SampleReport.cell("w", "kvm", [SampleReport.failed(.guestPanic, "\u{1B}[2Jgone\r\nback")])]
        report.analyze()
        let text = SummaryTable.text(report)
        #expect(!text.contains("\u{1B}"))
        #expect(text.contains("failed: [2Jgone back"))
    }

    @Test(arguments: [
        (0.25, "0.250 ns"), (9.999, "10.0 ns"), (103.4, "103 ns"), (999.7, "1.00 µs"), (28_100, "28.1 µs"),
        (1.2e9, "1.20 s"), (3.6e12, "3600 s"), (0, "0 ns"),
    ])
    func timesHaveThreeDigitsAndAUnit(nanoseconds: Double, text: String) {
        #expect(NumberText.time(nanoseconds: nanoseconds) == text)
    }

    @Test(arguments: [(0, "0"), (950.4, "950"), (35_600, "35.6 k"), (1.2e6, "1.20 M"), (0.0001, "1.00e-04")])
    func countsHaveThreeDigits(value: Double, text: String) {
        #expect(NumberText.count(value) == text)
    }
}
