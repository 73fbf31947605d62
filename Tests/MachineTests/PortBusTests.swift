import GuestInterface
import MachineTesting
import Testing

@testable import Machine

@Suite struct PortBusTests {
    private let memory: GuestMemory
    private let observer = RecordingObserver()
    private let bus: PortBus

    init() throws {
        memory = try GuestMemory(bytes: 2 << 20)
        bus = try PortBus(memory: memory, observer: observer)
    }

    private func postPhase() throws {
        var header = MailboxHeader()
        header.used = 16
        try memory.write(header, at: GuestPhysicalAddress(BootLayout.mailbox))
        try memory.write(
            MailboxRecordHeader(kind: MailboxRecordKind.phase, detail: BootPhase.programStart, length: 0, tsc: 5),
            at: GuestPhysicalAddress(BootLayout.mailbox + MailboxHeader.bytes))
    }

    @Test func serialOutputComesInLines() {
        for byte in "hello\nwor".utf8 { #expect(bus.write(Port.serial, size: 1, value: UInt32(byte)) == .continue) }
        #expect(observer.serialText == "hello\n")
        bus.finish()
        #expect(observer.serialText == "hello\nwor")
        #expect(bus.read(Port.serial + 5, size: 1) & 0x20 != 0, "always ready to send")
    }

    @Test func longLinesAreNotHeldBack() {
        for _ in 0..<1000 { _ = bus.write(Port.serial, size: 1, value: 0x61) }
        bus.finish()
        #expect(observer.serial == [UInt8](repeating: 0x61, count: 1000))
    }

    @Test func divisorLatchHidesTheTransmitter() {
        _ = bus.write(Port.serial + 3, size: 1, value: 0x83)
        _ = bus.write(Port.serial, size: 1, value: 0x0C)
        #expect(bus.read(Port.serial, size: 1) == 0x0C)
        _ = bus.write(Port.serial + 3, size: 1, value: 0x03)
        bus.finish()
        #expect(observer.serial.isEmpty)
    }

    @Test func theDoorbellDrainsTheMailbox() throws {
        try postPhase()
        #expect(bus.write(Port.doorbell, size: 4, value: Doorbell.drain) == .continue)
        #expect(observer.records.map(\.detail) == [BootPhase.programStart])
        #expect(bus.doorbells == 1)
    }

    @Test func thePortForWorldSwitchesDoesNothing() throws {
        try postPhase()
        #expect(bus.write(Port.worldSwitch, size: 4, value: .max) == .continue)
        #expect(observer.records.isEmpty)
        #expect(bus.unknownAccesses == 0)
    }

    @Test func debugExitEndsTheMachineAfterALastDrain() throws {
        try postPhase()
        #expect(bus.write(Port.debugExit, size: 4, value: DebugExitCode.done) == .exit(code: 0x10))
        #expect(bus.write(Port.debugExit, size: 1, value: 0x1234) == .exit(code: 0x34))
        #expect(observer.records.count == 1)
    }

    @Test func probesAreHarmlessAndUnknownPortsReadOnes() {
        #expect(bus.read(Port.postCode, size: 1) == 0xFF)
        for port: UInt16 in [0x20, 0x21, 0xA0, 0xA1, 0x40, 0x43, 0x61, 0x70, 0x71] {
            _ = bus.write(port, size: 1, value: 0x55)
            _ = bus.read(port, size: 1)
        }
        #expect(bus.unknownAccesses == 0)
        #expect(bus.read(0xCF8, size: 4) == 0xFFFF_FFFF)
        #expect(bus.read(0xFFFE, size: 4) == 0xFFFF_FFFF, "wraps like the bus, does not trap")
        #expect(bus.unknownAccesses > 0)
    }

    @Test func timeInTheObserverIsCountedApart() throws {
        #expect(bus.deliveryCycles == 0)
        _ = bus.read(Port.postCode, size: 1)
        #expect(bus.deliveryCycles == 0, "nothing was delivered")
        try postPhase()
        _ = bus.write(Port.doorbell, size: 4, value: Doorbell.drain)
        let records = bus.deliveryCycles
        #expect(records > 0)
        for byte in "line\n".utf8 { _ = bus.write(Port.serial, size: 1, value: UInt32(byte)) }
        #expect(bus.deliveryCycles > records)
    }

    @Test func aHostileMailboxIsCountedNotFatal() throws {
        try memory.write(UInt64(0x4141_4141), at: GuestPhysicalAddress(BootLayout.mailbox))
        #expect(bus.write(Port.doorbell, size: 4, value: 1) == .continue)
        #expect(bus.mailboxErrors == 1)
        #expect("\(bus.firstMailboxError!)".contains("mailbox protocol"))
    }
}
