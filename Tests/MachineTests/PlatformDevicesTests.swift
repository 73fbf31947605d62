import Glibc
import MachineTesting
import Testing

@testable import Machine

@Suite struct InterruptControllerTests {
    /// Vectors from 0x20 and 0x28, everything open.
    private func controllers() -> InterruptControllerPair {
        var pair = InterruptControllerPair()
        for (port, value): (UInt16, UInt8) in [
            (0x20, 0x11), (0xA0, 0x11), (0x21, 0x20), (0xA1, 0x28), (0x21, 4), (0xA1, 2), (0x21, 1), (0xA1, 1),
            (0x21, 0), (0xA1, 0),
        ] { pair.write(port, value) }
        return pair
    }

    @Test func linesComeByPriorityAndWaitForTheEndOfInterrupt() {
        var pair = controllers()
        pair.setLine(4, true)
        pair.setLine(1, true)
        #expect(pair.isPending)
        #expect(pair.acknowledge() == 0x21)
        #expect(!pair.isPending, "line 4 is of lower priority than 1, which is in service")
        pair.setLine(0, true)
        #expect(pair.acknowledge() == 0x20, "line 0 is of higher priority")
        pair.write(0x20, 0x20)
        pair.write(0x20, 0x20)
        #expect(pair.acknowledge() == 0x24)
    }

    @Test func theSlaveGoesThroughLineTwo() {
        var pair = controllers()
        pair.setLine(12, true)
        #expect(pair.acknowledge() == 0x2C)
        pair.write(0x20, 0x0B)
        #expect(pair.read(0x20) == 1 << 2, "the master's in-service register")
        pair.setLine(14, true)
        #expect(!pair.isPending)
        pair.write(0xA0, 0x20)
        pair.write(0x20, 0x20)
        #expect(pair.acknowledge() == 0x2E)
    }

    @Test func masksHoldBackAndEdgesAreRemembered() {
        var pair = controllers()
        pair.write(0x21, 0xFF)
        pair.setLine(3, true)
        pair.setLine(3, false)
        #expect(!pair.isPending)
        pair.write(0x20, 0x0A)
        #expect(pair.read(0x20) == 1 << 3, "the request register")
        pair.write(0x21, 0)
        #expect(pair.acknowledge() == 0x23)
        #expect(pair.acknowledge() == 0x27, "nothing is left: the spurious interrupt")
    }

    @Test func nothingComesBeforeInitialization() {
        var pair = InterruptControllerPair()
        pair.setLine(0, true)
        #expect(!pair.isPending)
    }
}

@Suite struct IntervalTimerTests {
    private static let tscHertz = IntervalTimer.hertz * 1000

    private func program(
        _ timer: inout IntervalTimer, _ command: UInt8, _ port: UInt16, _ count: UInt16, at now: UInt64
    ) {
        timer.write(0x43, command, now: now)
        timer.write(port, UInt8(truncatingIfNeeded: count), now: now)
        timer.write(port, UInt8(truncatingIfNeeded: count >> 8), now: now)
    }

    @Test func rateGeneratorTicksPeriodically() throws {
        var timer = IntervalTimer(tscHertz: Self.tscHertz)
        #expect(timer.deadline == nil)
        program(&timer, 0x34, 0x40, 1000, at: 5000)
        let first = try #require(timer.deadline)
        #expect(abs(Int64(first) - 1_005_000) <= 2)
        #expect(timer.poll(now: first - 1) == false)
        #expect(timer.poll(now: first) == true)
        #expect(timer.poll(now: first) == false)
        #expect(abs(Int64(try #require(timer.deadline)) - 2_005_000) <= 2)
        // Ticks that were missed are one.
        #expect(timer.poll(now: 9_500_000) == true)
        #expect(abs(Int64(try #require(timer.deadline)) - 10_005_000) <= 2)
    }

    @Test func oneShotEndsOnce() throws {
        var timer = IntervalTimer(tscHertz: Self.tscHertz)
        program(&timer, 0x30, 0x40, 100, at: 0)
        #expect(timer.poll(now: try #require(timer.deadline)) == true)
        #expect(timer.deadline == nil)
    }

    @Test func latchedCountsHoldAndReadLowThenHigh() {
        var timer = IntervalTimer(tscHertz: Self.tscHertz)
        program(&timer, 0x34, 0x40, 0x1000, at: 0)
        timer.write(0x43, 0x00, now: 0x100 * 1000 + 500)
        let low = timer.read(0x40, now: 0x800 * 1000)
        let high = timer.read(0x40, now: 0x800 * 1000)
        #expect(UInt16(high) << 8 | UInt16(low) == 0x1000 - 0x100)
    }

    @Test func readBackGivesStatusThenCount() {
        var timer = IntervalTimer(tscHertz: Self.tscHertz)
        program(&timer, 0x34, 0x40, 0x1000, at: 0)
        timer.write(0x43, 0xC2, now: 500)
        #expect(timer.read(0x40, now: 500) == 0xB4, "output high, low then high byte, mode 2")
        #expect(timer.read(0x40, now: 500) == 0x00)
        #expect(timer.read(0x40, now: 500) == 0x10)
    }

    @Test func theSpeakersGateHoldsCounterTwo() {
        var timer = IntervalTimer(tscHertz: Self.tscHertz)
        timer.write(0x61, 1, now: 0)
        program(&timer, 0xB0, 0x42, 100, at: 0)
        timer.write(0x61, 0, now: 50_000)
        #expect(timer.read(0x61, now: 1_000_000) & 0x20 == 0, "stopped after 50 clocks")
        timer.write(0x61, 1, now: 1_000_000)
        #expect(timer.read(0x61, now: 1_040_000) & 0x20 == 0)
        #expect(timer.read(0x61, now: 1_051_000) & 0x20 == 0x20)
    }
}

@Suite struct IOAPICTests {
    private func write(_ apic: inout IOAPIC, _ index: UInt32, _ value: UInt32) -> UInt8? {
        _ = apic.write(0, index)
        return apic.write(0x10, value)
    }

    @Test func edgesComeOnceAndOnlyUnmasked() {
        var apic = IOAPIC()
        #expect(apic.setLine(4, true) == nil)
        #expect(apic.setLine(4, false) == nil)
        #expect(write(&apic, 0x18, 0x55) == nil)
        #expect(apic.setLine(4, true) == 0x55)
        #expect(apic.setLine(4, true) == nil)
    }

    @Test func levelsComeAgainUntilTheyFall() {
        var apic = IOAPIC()
        _ = write(&apic, 0x18, 0x8055)
        #expect(apic.setLine(4, true) == 0x55)
        #expect(apic.setLine(4, true) == nil, "still being served")
        #expect(apic.endOfInterrupt(0x55) == 0x55)
        _ = apic.setLine(4, false)
        #expect(apic.endOfInterrupt(0x55) == nil)
    }

    @Test func registersReadBack() {
        var apic = IOAPIC()
        _ = apic.write(0, 1)
        #expect(apic.read(0x10) >> 16 & 0xFF == 23)
        _ = write(&apic, 0x13, 0x0100_0000)
        _ = apic.write(0, 0x13)
        #expect(apic.read(0x10) == 0x0100_0000)
        _ = apic.write(0, 0xFF)
        #expect(apic.read(0x10) == 0)
    }
}

@Suite struct SmallDeviceTests {
    @Test func theClockShowsUTC() {
        let clock = RealTimeClock(lowMemoryBytes: 64 << 20)
        // 2024-02-29 23:59:58 UTC, a Thursday.
        let bytes: [UInt8] = [0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x32].map { clock.read($0, at: 1_709_251_198) }
        #expect(bytes == [0x58, 0x59, 0x23, 0x05, 0x29, 0x02, 0x24, 0x20])
        #expect(clock.read(0x34, at: 0) == 0x00)
        #expect(clock.read(0x35, at: 0) == 0x03, "48 MiB above 16 MiB in units of 64 KiB")
    }

    @Test func resetsAreSeen() throws {
        for (port, value): (UInt16, UInt32) in [(0x64, 0xFE), (0x92, 1), (0xCF9, 6)] {
            let memory = try GuestMemory(bytes: 1 << 20)
            let bus = try PortBus(
                memory: memory, observer: RecordingObserver(), nil,
                PlatformDevices(lowMemoryBytes: 1 << 20, tscHertz: 1))
            #expect(bus.write(port, size: 1, value: value) == .reset)
            // Without these devices the ports lead nowhere.
            let bare = try PortBus(memory: memory, observer: RecordingObserver())
            #expect(bare.write(port, size: 1, value: value) == .continue)
        }
    }

    @Test func theSerialPortReceivesAndInterrupts() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { close(ends[0]) }
        var console = SerialConsole(input: ConsoleInput(descriptor: ends[0]))
        let observer = RecordingObserver()
        // OUT2 and the receive interrupt.
        console.write(4, 0x08, to: observer)
        console.write(1, 0x01, to: observer)
        var seen = [console.read(5), console.interruptLine ? 1 : 0]
        #expect(seen == [0x60, 0])
        #expect(write(ends[1], "ab", 2) == 2)
        seen = [console.interruptLine ? 1 : 0, console.read(2), console.read(5), console.read(0), console.read(0)]
        #expect(seen == [1, 0xC4, 0x61, 0x61, 0x62])
        close(ends[1])
        // The end of the input is silence.
        seen = [console.read(5), console.interruptLine ? 1 : 0]
        #expect(seen == [0x60, 0])
        // The transmitter's interrupt is told once.
        console.write(1, 0x02, to: observer)
        seen = [console.interruptLine ? 1 : 0, console.read(2), console.interruptLine ? 1 : 0]
        #expect(seen == [1, 0xC2, 0])
    }

    @Test func theLocalAPICChangesItsMode() {
        var apic = LocalAPIC(tscHertz: 1_000_000_000)
        #expect(apic.isInX2APICMode)
        #expect(apic.writeBase(0xFEE0_0900) == false, "not straight from x2APIC to xAPIC mode")
        #expect(apic.writeBase(0xFEE0_0100) == true)
        #expect(apic.writeBase(0xFEE0_0500) == false, "x2APIC needs the APIC enabled")
        #expect(apic.writeBase(0xFEE0_0900) == true)
        #expect(apic.writeBase(0xFED0_0900) == false, "its registers cannot be moved")
        #expect(!apic.isInX2APICMode)
        apic.writeMemory(0x0F0, 0x1FF, now: 0)
        apic.request(0x50)
        #expect(apic.deliverable == 0x50)
        apic.acknowledge(0x50)
        #expect(apic.readMemory(0x120, now: 0) == 1 << 16)
        apic.writeMemory(0x0B0, 0, now: 0)
        #expect(apic.readMemory(0x120, now: 0) == 0)
        #expect(apic.acceptsExternalInterrupts)
        apic.writeMemory(0x350, 0x1_0700, now: 0)
        #expect(!apic.acceptsExternalInterrupts)
    }
}
