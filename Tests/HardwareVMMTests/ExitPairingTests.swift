import Testing

@testable import HardwareVMM

/// Streams made by hand; times are in nanoseconds.
@Suite struct ExitPairingTests {
    private let cpuid = KernelExitCause(raw: .vmx(10), reason: .cpuid)
    private let io = KernelExitCause(raw: .vmx(30), reason: .portIO)
    private let halt = KernelExitCause(raw: .vmx(12), reason: .halt)
    private let fault = KernelExitCause(raw: .svm(0x4E), reason: .shadowFill)
    private let plain = KernelExitCause(raw: .emulation(.other), reason: .emulatedInstruction)
    private let out = KernelExitCause(raw: .emulation(.portOutput), reason: .portIO)
    private let iret = KernelExitCause(raw: .emulation(.interruptReturn), reason: .interruptReturn)

    private func exits(
        _ technique: KVMTracepoints.Technique, _ events: [(UInt64, KVMTraceEvent)]
    ) -> (exits: [KernelExit], lost: UInt64) {
        var pairing = ExitPairing(technique)
        var exits: [KernelExit] = []
        for (time, event) in events {
            if let exit = pairing.consume(event, at: time) { exits.append(exit) }
        }
        if let exit = pairing.finish() { exits.append(exit) }
        return (exits, pairing.lostEvents)
    }

    // MARK: Hardware

    @Test func anExitLastsUntilTheEntry() {
        let (exits, lost) = exits(
            .hardware,
            [(90, .entry), (100, .exit(cpuid, rip: 1)), (130, .entry), (200, .exit(io, rip: 2)), (290, .entry)])
        #expect(
            exits == [
                KernelExit(cause: cpuid, rip: 1, start: 100, nanoseconds: 30),
                KernelExit(cause: io, rip: 2, start: 200, nanoseconds: 90),
            ])
        #expect(lost == 0)
    }

    @Test func timeInTheVMMIsNotKVMs() {
        let (exits, _) = exits(
            .hardware,
            [
                (100, .exit(io, rip: 7)), (110, .irrelevant), (120, .userspaceExit), (1000, .userspaceReturn),
                (1030, .entry),
            ])
        #expect(
            exits == [KernelExit(cause: io, rip: 7, start: 100, nanoseconds: 50, recordings: 3, reachedVMM: true)])
    }

    @Test func severalStaysInTheVMMAddUp() {
        let (exits, _) = exits(
            .hardware,
            [
                (100, .exit(io, rip: 7)), (120, .userspaceExit), (220, .userspaceReturn), (230, .userspaceExit),
                (330, .userspaceReturn), (335, .entry),
            ])
        #expect(exits.map(\.nanoseconds) == [35])
    }

    @Test func withoutTheReturnToKVMTimeEndsAtItsLeaving() {
        let (exits, _) = exits(.hardware, [(100, .exit(io, rip: 7)), (120, .userspaceExit), (1030, .entry)])
        #expect(exits.map(\.nanoseconds) == [20])
    }

    @Test func anExitThatIsTheLastIsComplete() {
        let (exits, _) = exits(.hardware, [(100, .exit(io, rip: 7)), (125, .userspaceExit)])
        #expect(exits == [KernelExit(cause: io, rip: 7, start: 100, nanoseconds: 25, reachedVMM: true)])
    }

    @Test func anExitThatTheTraceCutsOffHasNoTime() {
        #expect(exits(.hardware, [(100, .exit(cpuid, rip: 7))]).exits.map(\.nanoseconds) == [nil])
    }

    @Test func lostEventsBreakThePairAroundThem() {
        let (exits, lost) = exits(
            .hardware,
            [
                (100, .exit(cpuid, rip: 1)), (0, .lost(5)), (200, .entry), (300, .exit(cpuid, rip: 2)), (310, .entry),
            ])
        #expect(exits.map(\.rip) == [1, 2])
        #expect(exits.map(\.nanoseconds) == [nil, 10], "what ended first is not known")
        #expect(lost == 5)
    }

    @Test func anEntryAfterLossBelongsToNoExit() {
        let (exits, lost) = exits(.hardware, [(0, .lost(1)), (200, .entry), (0, .lost(2)), (300, .entry)])
        #expect(exits.isEmpty)
        #expect(lost == 3)
    }

    @Test func twoExitsInARowMissAnEntry() {
        let (exits, _) = exits(.hardware, [(100, .exit(cpuid, rip: 1)), (300, .exit(io, rip: 2)), (310, .entry)])
        #expect(exits.map(\.nanoseconds) == [nil, 10])
    }

    @Test func haltsKeepTheirReasonSoThatTheyCountAsWaiting() {
        let (exits, _) = exits(.hardware, [(100, .exit(halt, rip: 1)), (90_100, .entry)])
        #expect(exits.map(\.cause.reason) == [.halt])
        #expect(exits.map(\.nanoseconds) == [90_000])
    }

    @Test func timeWithoutACPUIsNotTheExits() {
        let (exits, _) = exits(
            .hardware,
            [
                (100, .exit(cpuid, rip: 1)), (110, .switchedOut), (5110, .switchedIn), (130 + 5000, .entry),
                (6000, .switchedOut), (7000, .switchedIn), (8000, .exit(cpuid, rip: 1)), (8010, .entry),
            ])
        #expect(exits.map(\.nanoseconds) == [30, 10], "and what happens in the guest's own time is in no exit")
    }

    @Test func haltsWaitWithoutACPU() {
        let (exits, _) = exits(
            .hardware, [(100, .exit(halt, rip: 1)), (110, .switchedOut), (5110, .switchedIn), (5130, .entry)])
        #expect(exits.map(\.nanoseconds) == [5030])
    }

    @Test func timeWithoutACPUInTheVMMIsLeftOutOnce() {
        let (exits, _) = exits(
            .hardware,
            [
                (100, .exit(io, rip: 1)), (110, .userspaceExit), (120, .switchedOut), (520, .switchedIn),
                (610, .userspaceReturn), (620, .entry),
            ])
        #expect(exits.map(\.nanoseconds) == [20])
    }

    @Test func aFaultThatTheGuestGetsIsItsOwn() {
        let (exits, _) = exits(
            .hardware,
            [
                (100, .exit(fault, rip: 1)), (105, .exception(vector: 14)), (110, .entry), (200, .exit(fault, rip: 2)),
                (220, .entry), (300, .exit(cpuid, rip: 3)), (310, .exception(vector: 14)), (320, .entry),
            ])
        #expect(exits.map(\.cause.reason) == [.guestPageFault, .shadowFill, .cpuid])
        #expect(exits.map(\.recordings) == [2, 1, 2])
    }

    @Test func emulationWithinAnExitIsPartOfIt() {
        let (exits, _) = exits(
            .hardware,
            [(100, .exit(fault, rip: 1)), (105, .emulated(plain, rip: 1, returnsToUser: false)), (140, .entry)])
        #expect(exits == [KernelExit(cause: fault, rip: 1, start: 100, nanoseconds: 40, recordings: 2)])
    }

    @Test func leavingForASignalBeforeTheFirstEntryIsNoExit() {
        #expect(exits(.hardware, [(10, .userspaceReturn), (20, .userspaceExit), (30, .userspaceReturn)]).exits.isEmpty)
    }

    // MARK: Emulation

    @Test func anInstructionLastsUntilTheNext() {
        let (exits, _) = exits(
            .emulation,
            [
                (100, .emulated(plain, rip: 1, returnsToUser: false)),
                (103, .emulated(plain, rip: 2, returnsToUser: false)), (110, .exception(vector: 13)),
                (125, .emulated(plain, rip: 3, returnsToUser: false)),
            ])
        #expect(exits.map(\.nanoseconds) == [3, 7, 15, nil])
        #expect(exits.map(\.cause.name) == ["emulate", "emulate", "inject #GP", "emulate"])
        #expect(exits.map(\.rip) == [1, 2, nil, 3])
    }

    @Test func anInstructionThatTheVMMCarriesOutIsWithoutItsTime() {
        let (exits, _) = exits(
            .emulation,
            [
                (100, .emulated(out, rip: 1, returnsToUser: false)), (104, .userspaceExit), (200, .userspaceReturn),
                (206, .emulated(plain, rip: 2, returnsToUser: false)),
            ])
        #expect(
            exits[0] == KernelExit(cause: out, rip: 1, start: 100, nanoseconds: 10, recordings: 2, reachedVMM: true))
    }

    @Test func aSecondTryIsNotASecondInstruction() {
        let (exits, _) = exits(
            .emulation,
            [
                (100, .emulated(iret, rip: 1, returnsToUser: true)), (101, .emulationFailed),
                (150, .exception(vector: 14)),
            ])
        #expect(
            exits.first
                == KernelExit(
                    cause: iret, rip: 1, start: 100, nanoseconds: 50, recordings: 2, includesUserMode: true))
        #expect(exits.count == 2)
    }

    @Test func lossBreaksTheInstructionBeforeIt() {
        let (exits, lost) = exits(
            .emulation,
            [
                (100, .emulated(plain, rip: 1, returnsToUser: false)), (0, .lost(9)),
                (103, .emulated(plain, rip: 2, returnsToUser: false)), (106, .userspaceExit),
            ])
        #expect(exits.map(\.nanoseconds) == [nil, 3])
        #expect(lost == 9)
    }
}

@Suite struct KernelExitLedgerTests {
    private let free = TracingCost(recordingNanoseconds: 0, switchNanoseconds: 0)
    private let cpuid = KernelExitCause(raw: .vmx(10), reason: .cpuid)
    private let iret = KernelExitCause(raw: .emulation(.interruptReturn), reason: .interruptReturn)

    @Test func phasesCausesAndSitesAreToldApart() {
        var ledger = KernelExitLedger(cost: free)
        ledger.add(KernelExit(cause: cpuid, rip: 1, start: 0, nanoseconds: 10), phase: .boot)
        ledger.add(KernelExit(cause: cpuid, rip: 1, start: 0, nanoseconds: 30), phase: .timed(0))
        ledger.add(KernelExit(cause: cpuid, rip: 2, start: 0, nanoseconds: 50), phase: .timed(0))
        ledger.add(KernelExit(cause: cpuid, rip: 2, start: 0, nanoseconds: nil), phase: .timed(0))
        ledger.add(KernelExit(cause: iret, rip: nil, start: 0, nanoseconds: 70), phase: .timed(0))
        #expect(ledger.lines.map(\.phase) == [.boot, .timed(0), .timed(0)])
        #expect(ledger.lines.map(\.count) == [1, 3, 1])
        #expect(ledger.lines.map(\.timed) == [1, 2, 1])
        #expect(ledger.lines.map(\.total) == [10, 80, 70])
        #expect(ledger.sites[.init(line: 1, rip: 2)]?.count == 2)
        #expect(ledger.sites[.init(line: 1, rip: 2)]?.nanoseconds == 50)
        #expect(ledger.sites.count == 3)
    }

    @Test func recordingIsTakenOffAndTheSwitchAdded() {
        var ledger = KernelExitLedger(cost: TracingCost(recordingNanoseconds: 100, switchNanoseconds: 700))
        ledger.add(KernelExit(cause: cpuid, rip: 1, start: 0, nanoseconds: 1000, recordings: 3), phase: .boot)
        #expect(ledger.lines[0].total == 1400)
    }

    @Test func anExitIsNeverCheaperThanNothing() {
        var ledger = KernelExitLedger(cost: TracingCost(recordingNanoseconds: 100, switchNanoseconds: 0))
        ledger.add(KernelExit(cause: cpuid, rip: 1, start: 0, nanoseconds: 40), phase: .boot)
        #expect(ledger.lines[0].total == 0)
        #expect(ledger.lines[0].timed == 1)
    }

    @Test func whatRing3RanIsTakenOutOfReturns() {
        var ledger = KernelExitLedger(cost: free)
        // Twenty returns of 100 ns, and two after which ring 3 ran for long.
        for _ in 0..<20 {
            ledger.add(
                KernelExit(cause: iret, rip: 1, start: 0, nanoseconds: 100, includesUserMode: true), phase: .boot)
        }
        for _ in 0..<2 {
            ledger.add(
                KernelExit(cause: iret, rip: 1, start: 0, nanoseconds: 5_000_000, includesUserMode: true),
                phase: .timed(0))
        }
        ledger.add(KernelExit(cause: cpuid, rip: 1, start: 0, nanoseconds: 9_000_000), phase: .timed(0))
        #expect(ledger.limitReturns() == 200)
        #expect(ledger.lines.map(\.total) == [2000, 400, 9_000_000])
    }

    @Test func withoutReturnsThereIsNoLimit() {
        var ledger = KernelExitLedger(cost: free)
        ledger.add(KernelExit(cause: cpuid, rip: 1, start: 0, nanoseconds: 10), phase: .boot)
        #expect(ledger.limitReturns() == nil)
    }

    @Test func phasesComeInTheOrderInWhichTheyWerePushed() {
        let queue = PhaseQueue()
        #expect(queue.pop() == nil)
        for number in 0..<1500 { queue.push(.timed(number)) }
        #expect(queue.lost == 1500 - 1024)
        #expect((0..<1024).map { _ in queue.pop()?.phase } == (0..<1024).map { .timed($0) })
        #expect(queue.pop() == nil)
        queue.push(.shutdown)
        #expect(queue.pop()?.phase == .shutdown)
    }

    @Test func theCostOfTracingIsTheDifference() {
        #expect(
            TracingCost(.emulation, plain: 600, traced: 1000, spans: [])
                == TracingCost(recordingNanoseconds: 200, switchNanoseconds: 0))
        // 1200 ns an exit, 1600 when recorded, 900 of them between the events: 700 without the recording, 500 of switching.
        #expect(
            TracingCost(.hardware, plain: 1200, traced: 1600, spans: [880, 900, 2000])
                == TracingCost(recordingNanoseconds: 200, switchNanoseconds: 500))
        // Noise may make the traced run the quicker one.
        #expect(TracingCost(.emulation, plain: 600, traced: 590, spans: []).recordingNanoseconds == 0)
    }
}
