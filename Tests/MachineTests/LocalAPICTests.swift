import Machine
import Testing

@Suite struct LocalAPICTests {
    /// Timer register numbers are MSR - 0x800 (Intel SDM vol. 3, table 11-6).
    private let spurious: UInt32 = 0x0F
    private let timerEntry: UInt32 = 0x32
    private let initialCount: UInt32 = 0x38
    private let divider: UInt32 = 0x3E
    private let endOfInterrupt: UInt32 = 0x0B

    private func write(
        _ apic: inout LocalAPIC, _ register: UInt32, _ value: UInt64, now: UInt64 = 0, accepted: Bool = true
    ) {
        let result = apic.write(register, value, now: now)
        #expect(result == accepted, "register \(register)")
    }

    private func enabled() -> LocalAPIC {
        var apic = LocalAPIC(tscHertz: 2_000_000_000)
        write(&apic, spurious, 0x1FF)
        return apic
    }

    @Test func oneShotTimerFiresOnceWhenItsCountHasRunDown() {
        var apic = enabled()
        write(&apic, divider, 0b1011)  // by 1
        write(&apic, timerEntry, 0x40)
        write(&apic, initialCount, 1000, now: 100)
        // 1,000 ticks of 1 GHz are 2,000 ticks of a 2 GHz TSC.
        #expect(apic.deadline == 2100)
        apic.poll(now: 2099)
        #expect(apic.deliverable == nil)
        apic.poll(now: 2100)
        #expect(apic.deliverable == 0x40)
        apic.acknowledge(0x40)
        apic.poll(now: 1_000_000)
        #expect(apic.deliverable == nil)
        #expect(apic.deadline == nil)
    }

    @Test func periodicTimerKeepsItsPhaseAndMergesMissedTicks() {
        var apic = enabled()
        write(&apic, divider, 0)  // by 2
        write(&apic, timerEntry, 1 << 17 | 0x41)
        write(&apic, initialCount, 500)
        #expect(apic.deadline == 2000)
        apic.poll(now: 7500)
        #expect(apic.deliverable == 0x41)
        #expect(apic.deadline == 8000)
    }

    @Test func lowerPriorityWaitsForEndOfInterrupt() {
        var apic = enabled()
        write(&apic, 0x3F, 0x52)  // self-IPI
        apic.acknowledge(0x52)
        write(&apic, 0x3F, 0x51)
        #expect(apic.deliverable == nil)
        write(&apic, 0x3F, 0x61)
        #expect(apic.deliverable == 0x61)
        write(&apic, endOfInterrupt, 0)
        apic.acknowledge(0x61)
        write(&apic, endOfInterrupt, 0)
        #expect(apic.deliverable == 0x51)
    }

    @Test func taskPriorityHoldsInterruptsBack() {
        var apic = enabled()
        write(&apic, 0x3F, 0x45)
        apic.cr8 = 4
        #expect(apic.deliverable == nil)
        apic.cr8 = 3
        #expect(apic.deliverable == 0x45)
    }

    @Test func reservedRegistersAndValuesAreRefused() {
        var apic = enabled()
        #expect(apic.read(0x3D, now: 0) == nil)
        write(&apic, 0x20, 1, accepted: false)
        write(&apic, endOfInterrupt, 1, accepted: false)
    }
}
