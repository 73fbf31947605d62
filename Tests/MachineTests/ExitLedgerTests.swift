import Testing

@testable import Machine

@Suite struct ExitLedgerTests {
    @Test func anEmptyLedgerHasNoLines() {
        #expect(ExitLedger().summaries().isEmpty)
        #expect(ExitLedger().totalCount == 0)
    }

    @Test func countsTotalsAndExtremesAreExact() throws {
        let ledger = ExitLedger()
        for cycles: UInt64 in [100, 5, 70_000] { ledger.record(.portIO, cycles: cycles) }
        ledger.record(.halt, cycles: 1_000_000)
        #expect(ledger.totalCount == 4)
        #expect(ledger.count(of: .portIO) == 3)
        let lines = ledger.summaries()
        #expect(lines.map(\.reason) == [.halt, .portIO], "most expensive in total first")
        let portIO = try #require(lines.last)
        #expect(portIO.count == 3)
        #expect(portIO.totalCycles == 70_105)
        #expect(portIO.minimumCycles == 5)
        #expect(portIO.maximumCycles == 70_000)
    }

    /// Uniform 1…100,000: percentiles must come within a bucket (3.2 %) plus the histogram's two digits (1 %).
    @Test func percentilesAreWithinTheBucketWidth() throws {
        let ledger = ExitLedger()
        for cycles in 1...100_000 as ClosedRange<UInt64> { ledger.record(.cpuid, cycles: cycles) }
        let line = try #require(ledger.summaries().first)
        #expect(abs(Double(line.medianCycles) / 50_000 - 1) < 0.045)
        #expect(abs(Double(line.p99Cycles) / 99_000 - 1) < 0.045)
    }

    @Test(arguments: [UInt64(0), 1, 31, 32, 33, 63, 64, 1 << 20, 1 << 40])
    func aSingleValueIsItsOwnMedian(value: UInt64) throws {
        let ledger = ExitLedger()
        ledger.record(.mmio, cycles: value)
        let line = try #require(ledger.summaries().first)
        #expect(line.minimumCycles == value && line.maximumCycles == value)
        #expect(abs(Double(line.medianCycles) - Double(value)) <= max(1, Double(value) * 0.045))
    }

    @Test func theLargestValueDoesNotOverflow() throws {
        let ledger = ExitLedger()
        ledger.record(.other, cycles: .max)
        ledger.record(.other, cycles: 0)
        #expect(try #require(ledger.summaries().first).maximumCycles == .max)
    }

    @Test func namesAreUnique() {
        #expect(Set(ExitReason.allCases.map(\.name)).count == ExitReason.allCases.count)
    }
}
