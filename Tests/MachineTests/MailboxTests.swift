import GuestInterface
import MachineTesting
import Testing

@testable import Machine

@Suite struct MailboxTests {
    private let memory: GuestMemory
    private let mailbox: Mailbox
    private let address = GuestPhysicalAddress(0x1_0000)

    init() throws {
        memory = try GuestMemory(bytes: 2 << 20)
        mailbox = try Mailbox(memory: memory, address: address, bytes: 4096)
    }

    private func post(_ records: [(kind: UInt16, payload: [UInt8])], used: UInt32? = nil) throws {
        var log: [UInt8] = []
        for record in records {
            let header = MailboxRecordHeader(
                kind: record.kind, detail: 9, length: UInt32(record.payload.count), tsc: 1234)
            withUnsafeBytes(of: header) { log += $0 }
            log += record.payload
            while log.count % 8 != 0 { log.append(0xEE) }
        }
        var header = MailboxHeader()
        header.capacity = 4032
        header.used = used ?? UInt32(log.count)
        try memory.write(header, at: address)
        try log.withUnsafeBytes { try memory.write(bytes: $0, at: address + MailboxHeader.bytes) }
    }

    private func drain() -> (records: [RecordingObserver.Record], error: MachineError?) {
        let observer = RecordingObserver()
        do throws(MachineError) {
            try mailbox.drain { observer.record($0, payload: $1) }
            return (observer.records, nil)
        } catch { return (observer.records, error) }
    }

    @Test func recordsArriveInOrderOnce() throws {
        try post([(1, Array("round".utf8)), (2, []), (6, [UInt8](repeating: 7, count: 100))])
        let (records, error) = drain()
        #expect(error == nil)
        #expect(records.map(\.kind) == [1, 2, 6])
        #expect(records[0].payload == Array("round".utf8))
        #expect(records[0].detail == 9)
        #expect(records[0].tsc == 1234)
        #expect(records[2].payload.count == 100)
        #expect(drain().records.isEmpty)
    }

    @Test func anUntouchedMailboxIsEmpty() {
        let (records, error) = drain()
        #expect(records.isEmpty)
        #expect(error == nil)
    }

    @Test func theLastRecordMayFillTheLogToTheByte() throws {
        try post([(1, [UInt8](repeating: 1, count: 4032 - 16))])
        #expect(drain().records.first?.payload.count == 4016)
    }

    @Test(arguments: [UInt32(4033), .max, 0x8000_0000])
    func moreUsedThanThereIs(used: UInt32) throws {
        try post([(1, [1])], used: used)
        let (records, error) = drain()
        #expect(records.isEmpty)
        #expect("\(error!)".contains("\(used) bytes used"))
        #expect(drain().error == nil, "the log is emptied after an error")
    }

    @Test func recordsBeforeABadLengthAreKept() throws {
        try post([(1, [1, 2, 3]), (2, [4])])
        try memory.write(UInt32.max, at: address + MailboxHeader.bytes + 24 + 4)
        let (records, error) = drain()
        #expect(records.map(\.payload) == [[1, 2, 3]])
        #expect(error != nil)
    }

    @Test func halfAHeaderAndWrongMagic() throws {
        try post([(1, [])], used: 15)
        #expect("\(drain().error!)".contains("half a record"))
        try post([(1, [])])
        try memory.write(UInt64(1), at: address)
        #expect("\(drain().error!)".contains("magic"))
    }

    @Test func theMailboxMustBeRAM() {
        #expect(throws: MachineError.self) {
            try Mailbox(memory: memory, address: GuestPhysicalAddress((2 << 20) - 64), bytes: 128)
        }
        #expect(throws: MachineError.self) { try Mailbox(memory: memory, address: address, bytes: 63) }
        #expect(throws: MachineError.self) {
            try Mailbox(memory: memory, address: GuestPhysicalAddress(0x1_0004), bytes: 4096)
        }
    }
}
