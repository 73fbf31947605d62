import GuestInterface
import Machine

/// Keeps everything a guest sends.
public final class RecordingObserver: MachineObserver {
    public struct Record: Equatable {
        public var kind: UInt16
        public var detail: UInt16
        public var tsc: UInt64
        public var payload: [UInt8]

        public init(kind: UInt16, detail: UInt16, tsc: UInt64, payload: [UInt8]) {
            self.kind = kind
            self.detail = detail
            self.tsc = tsc
            self.payload = payload
        }
    }

    public private(set) var records: [Record] = []
    public private(set) var serial: [UInt8] = []
    public var serialText: String { String(decoding: serial, as: UTF8.self) }

    public init() {}

    public func record(_ header: MailboxRecordHeader, payload: UnsafeRawBufferPointer) {
        records.append(
            Record(kind: header.kind, detail: header.detail, tsc: header.tsc, payload: [UInt8](payload)))
    }

    public func serialOutput(_ bytes: UnsafeRawBufferPointer) { serial += bytes }
}
