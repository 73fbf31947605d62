import GuestInterface

/// The host's end of the mailbox (layout and protocol: GuestInterface/Mailbox.swift).
///
/// The guest owns the memory and may be hostile: the header and every record header are copied once, then checked.
/// During `drain` the vCPU must not be running, or the mailbox must be told: then it copies the log before it looks.
public struct Mailbox: Sendable {
    private let memory: GuestMemory
    private let address: GuestPhysicalAddress
    private let bytes: UInt64
    private let start: Int
    private let guestRuns: Bool

    /// A mailbox of `bytes` bytes in RAM at `address`. Throws `badGuestAddress` when that is not RAM,
    /// `invalidConfiguration` when it is smaller than its header or not 8-aligned.
    ///
    /// - Parameter guestRuns: whether the guest may write during `drain`.
    public init(
        memory: GuestMemory, address: GuestPhysicalAddress, bytes: UInt64, guestRuns: Bool = false
    ) throws(MachineError) {
        guard bytes >= MailboxHeader.bytes, address.rawValue % 8 == 0 else {
            throw .invalidConfiguration("a mailbox of \(bytes) bytes at 0x\(String(address.rawValue, radix: 16))")
        }
        guard let pointer = memory.pointer(to: address, count: bytes) else {
            throw .badGuestAddress(address, bytes: bytes)
        }
        self.memory = memory
        self.address = address
        self.bytes = bytes
        start = pointer - memory.base
        self.guestRuns = guestRuns
    }

    /// Records the guest could not fit so far, by its own account.
    public var dropped: UInt32 { header.dropped }

    private var header: MailboxHeader { (memory.base + start).loadUnaligned(as: MailboxHeader.self) }

    /// Hands every record to `body`, in order, and empties the log. The payload is guest memory, valid during the call.
    ///
    /// Before the guest has set up the mailbox (header all zero) there is nothing to hand over.
    /// - Throws: `invalidMailbox` at the first length that does not fit; records before it have been handed over, and the
    ///   log is emptied all the same.
    public func drain(
        _ body: (MailboxRecordHeader, UnsafeRawBufferPointer) -> Void
    ) throws(MachineError) {
        let header = self.header
        guard header.magic != 0 || header.used != 0 else { return }
        defer { setUsed(0) }
        guard header.magic == MailboxHeader.magicValue, header.version == 1 else {
            throw .invalidMailbox(
                "magic 0x\(String(header.magic, radix: 16)), version \(header.version) in its header")
        }
        let used = UInt64(header.used)
        guard used <= bytes - MailboxHeader.bytes else {
            throw .invalidMailbox("\(used) bytes used of \(bytes - MailboxHeader.bytes)")
        }
        var log = memory.base + start + Int(MailboxHeader.bytes)
        if guestRuns {
            let copy = UnsafeMutableRawPointer.allocate(byteCount: Int(used), alignment: 8)
            copy.copyMemory(from: log, byteCount: Int(used))
            log = copy
        }
        defer { if guestRuns { log.deallocate() } }
        var offset: UInt64 = 0
        while offset < used {
            guard used - offset >= MailboxRecordHeader.bytes else {
                throw .invalidMailbox("half a record header at offset \(offset)")
            }
            let record = (log + Int(offset)).loadUnaligned(as: MailboxRecordHeader.self)
            offset += MailboxRecordHeader.bytes
            guard UInt64(record.length) <= used - offset else {
                throw .invalidMailbox("a record of \(record.length) bytes at offset \(offset), \(used) bytes used")
            }
            body(record, UnsafeRawBufferPointer(start: log + Int(offset), count: Int(record.length)))
            offset += (UInt64(record.length) + 7) & ~7
        }
    }

    private func setUsed(_ value: UInt32) {
        let offset = MemoryLayout<MailboxHeader>.offset(of: \.used)!
        (memory.base + start + offset).storeBytes(of: value, as: UInt32.self)
    }
}
