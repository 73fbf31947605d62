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
        #expect(portIO.latency?.totalCycles == 70_105)
        #expect(portIO.latency?.minimumCycles == 5)
        #expect(portIO.latency?.maximumCycles == 70_000)
    }

    /// Uniform 1…100,000: percentiles must come within a bucket (3.2 %) plus the histogram's two digits (1 %).
    @Test func percentilesAreWithinTheBucketWidth() throws {
        let ledger = ExitLedger()
        for cycles in 1...100_000 as ClosedRange<UInt64> { ledger.record(.cpuid, cycles: cycles) }
        let latency = try #require(ledger.summaries().first?.latency)
        #expect(abs(Double(latency.medianCycles) / 50_000 - 1) < 0.045)
        #expect(abs(Double(latency.p99Cycles) / 99_000 - 1) < 0.045)
    }

    @Test(arguments: [UInt64(0), 1, 31, 32, 33, 63, 64, 1 << 20, 1 << 40])
    func aSingleValueIsItsOwnMedian(value: UInt64) throws {
        let ledger = ExitLedger()
        ledger.record(.mmio, cycles: value)
        let latency = try #require(ledger.summaries().first?.latency)
        #expect(latency.minimumCycles == value && latency.maximumCycles == value)
        #expect(abs(Double(latency.medianCycles) - Double(value)) <= max(1, Double(value) * 0.045))
    }

    @Test func theLargestValueDoesNotOverflow() throws {
        let ledger = ExitLedger()
        ledger.record(.other, cycles: .max)
        ledger.record(.other, cycles: 0)
        #expect(try #require(ledger.summaries().first?.latency).maximumCycles == .max)
    }

    @Test func theExitOfAMarkIsNeverChargedToATimedPhase() {
        let ledger = ExitLedger(rawReasons: ["a", "b"])
        ledger.begin(at: 100)
        func exit(_ reason: ExitReason, raw: Int = 0, from begin: UInt64, to end: UInt64, mark: LedgerPhase? = nil) {
            ledger.left(guestCycles: 10)
            if let mark { ledger.mark(mark) }
            ledger.record(reason, raw: raw, cycles: end - begin)
            ledger.settle(exit: begin, entry: end)
        }
        exit(.portIO, from: 110, to: 120, mark: .program)
        exit(.portIO, from: 130, to: 135, mark: .timed(1))
        exit(.systemCall, raw: 1, from: 145, to: 150)
        exit(.portIO, from: 160, to: 165, mark: .program)
        exit(.cpuid, from: 175, to: 180)
        exit(.portIO, from: 190, to: 192, mark: .shutdown)
        ledger.end(at: 200)

        func count(_ phase: LedgerPhase, _ reason: ExitReason) -> UInt64? {
            ledger.summaries().first { $0.phase == phase && $0.reason == reason }?.count
        }
        #expect(count(.boot, .portIO) == 1)
        #expect(count(.program, .portIO) == 3 && count(.program, .cpuid) == 1)
        #expect(count(.timed(1), .systemCall) == 1 && count(.timed(1), .portIO) == nil)
        #expect(ledger.summaries().first { $0.reason == .systemCall }?.rawReason == "b")
        #expect(
            ledger.phaseSummaries == [
                PhaseSummary(phase: .boot, entries: 1, cycles: 20, guestCycles: 10),
                PhaseSummary(phase: .program, entries: 2, cycles: 15 + 32, guestCycles: 30),
                PhaseSummary(phase: .shutdown, entries: 1, cycles: 8, guestCycles: 0),
                PhaseSummary(phase: .timed(1), entries: 1, cycles: 25, guestCycles: 20),
            ])
        #expect(ledger.phaseChanges.map(\.tsc) == [100, 120, 135, 160, 192])
    }

    @Test func phasesWithoutEndAreNotTold() {
        let ledger = ExitLedger()
        ledger.begin(at: 0)
        ledger.mark(.timed(ExitLedger.timedPhaseLimit))
        ledger.mark(.timed(-1))
        #expect(ledger.phase == .boot && ledger.droppedMarks == 2)
        for number in 0..<70_000 as Range<UInt64> {
            ledger.mark(number % 2 == 0 ? .timed(0) : .program)
            ledger.settle(exit: number, entry: number)
        }
        #expect(ledger.phaseChanges.count == 65_536 && ledger.droppedChanges == 70_001 - 65_536)
    }

    @Test func namesAreUnique() {
        #expect(Set(ExitReason.allCases.map(\.name)).count == ExitReason.allCases.count)
    }
}
