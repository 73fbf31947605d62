import CPU

/// How the host learns that it should look into the mailbox.
enum MailboxDoorbell {
    /// There is none.
    case none
    /// `Port.doorbell`; the log is empty when the instruction is done.
    case port
    /// `Doorbell.serialByte` on the serial port; the log is empty when the host has read it.
    case serial
}

/// The log of records that the host reads (GuestInterface/Mailbox.swift).
struct Mailbox {
    private var base: UInt64 = 0
    private var capacity: UInt32 = 0
    private var doorbell = MailboxDoorbell.none
    /// Program output waits that the host has not been told of.
    private(set) var hasUnflushedOutput = false
    private var openRecord: UInt32 = 0

    private static let usedOffset = 16
    private static let droppedOffset = 20

    mutating func start(at address: PhysicalAddress, bytes: UInt64, doorbell: MailboxDoorbell) {
        base = address.linear
        let size = bytes > 1 << 24 ? 1 << 24 : bytes
        capacity = UInt32(truncatingIfNeeded: size &- MailboxHeader.bytes)
        var header = MailboxHeader()
        header.capacity = capacity
        memset(address.raw, 0, UInt(MailboxHeader.bytes))
        address.raw.storeBytes(of: header, as: MailboxHeader.self)
        self.doorbell = doorbell
    }

    /// Whether someone drains it at the doorbell.
    var hasHost: Bool { doorbell != .none }

    private var used: UInt32 { cpu_load32(rawPointer(base) + Mailbox.usedOffset) }

    /// Begins a record of `length` payload bytes; where the payload goes, or nil when there is no room for it.
    mutating func begin(_ kind: UInt16, detail: UInt16 = 0, length: UInt32) -> UnsafeMutableRawPointer? {
        if base == 0 { return nil }
        let size = UInt32(MailboxRecordHeader.bytes) &+ (length &+ 7) & ~7
        var used = used
        if capacity < size || used > capacity &- size {
            ring()
            used = self.used
            if capacity < size || used > capacity &- size {
                let dropped = rawPointer(base) + Mailbox.droppedOffset
                cpu_store32(dropped, cpu_load32(dropped) &+ 1)
                return nil
            }
        }
        let record = rawPointer(base &+ MailboxHeader.bytes &+ UInt64(used))
        record.storeBytes(
            of: MailboxRecordHeader(kind: kind, detail: detail, length: length, tsc: cpu_rdtsc()),
            as: MailboxRecordHeader.self)
        openRecord = used &+ size
        return record + Int(MailboxRecordHeader.bytes)
    }

    /// Publishes the record begun last; rings when the log is more than three quarters full.
    mutating func commit() {
        cpu_store32(rawPointer(base) + Mailbox.usedOffset, openRecord)
        if openRecord > capacity / 4 * 3 { ring() }
    }

    mutating func append<T>(_ kind: UInt16, detail: UInt16 = 0, _ payload: T) {
        let length = UInt32(truncatingIfNeeded: MemoryLayout<T>.size)
        guard let target = begin(kind, detail: detail, length: length) else { return }
        target.storeBytes(of: payload, as: T.self)
        commit()
    }

    mutating func append(_ kind: UInt16, _ bytes: UnsafePointer<UInt8>, _ count: Int) {
        guard let target = begin(kind, length: UInt32(truncatingIfNeeded: count)) else { return }
        memcpy(target, bytes, UInt(count))
        commit()
    }

    mutating func phase(_ phase: UInt16) {
        guard begin(MailboxRecordKind.phase, detail: phase, length: 0) != nil else { return }
        commit()
        ring()
    }

    /// A record out of user memory. False when the user's bytes cannot be read; a full log drops them.
    mutating func appendFromUser(_ kind: UInt16, detail: UInt16, _ address: UInt64, _ count: UInt64) -> Bool {
        guard let target = begin(kind, detail: detail, length: UInt32(truncatingIfNeeded: count)) else { return true }
        if !UserMemory.copyIn(target, address, count) { return false }
        commit()
        hasUnflushedOutput = hasHost
        return true
    }

    /// Tells the host of something that needs no record. One without a doorbell port is not told.
    func mark(_ value: UInt32) {
        if case .port = doorbell { cpu_out32(Port.doorbell, value) }
    }

    /// Tells the host to drain now.
    mutating func ring() {
        hasUnflushedOutput = false
        switch doorbell {
        case .none: break
        case .port: cpu_out32(Port.doorbell, Doorbell.drain)
        case .serial:
            if used == 0 { return }
            var byte = Doorbell.serialByte
            SerialPort.write(&byte, 1)
            while used != 0 {}
        }
    }
}

nonisolated(unsafe) var mailbox = Mailbox()
