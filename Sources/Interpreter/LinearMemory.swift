import Machine

/// One page's translation, kept until `forgetTranslations`.
struct CachedTranslation {
    var page: UInt64 = 0
    var generation: UInt64 = 0
    /// Nil: no RAM there.
    var host: UnsafeMutableRawPointer?
    /// Guest-physical address of the page.
    var physical: UInt64 = 0
    var writable = false
    var executable = false
}

/// Memory by segment and offset, and by linear address.
extension Interpreter {
    static let translationCapacity = 256

    /// The guest's page tables, or what the bus has said of pages, may have changed.
    public func forgetTranslations() { generation &+= 1 }

    // MARK: Linear addresses

    /// The translation of the page at `linear`. Throws the page fault of the access.
    @inline(__always)
    func translate(
        _ linear: UInt64, write: Bool, execute: Bool = false
    ) throws(Interruption) -> UnsafeMutablePointer<CachedTranslation> {
        let page = linear >> 12
        let entry = translations + Int(page & UInt64(Self.translationCapacity - 1))
        if entry.pointee.page == page, entry.pointee.generation == generation, entry.pointee.writable || !write,
            entry.pointee.executable || !execute
        {
            return entry
        }
        try fill(entry, linear, write, execute)
        return entry
    }

    private func fill(
        _ entry: UnsafeMutablePointer<CachedTranslation>, _ linear: UInt64, _ write: Bool, _ execute: Bool
    ) throws(Interruption) {
        let found = try walk(linear, write: write, execute: execute)
        entry.pointee = CachedTranslation(
            page: linear >> 12, generation: generation, host: bus.page(at: found.page, forWriting: write),
            physical: found.page, writable: write, executable: found.executable)
    }

    func load(_ linear: UInt64, _ size: Int) throws(Interruption) -> UInt64 {
        let offset = Int(linear & 0xFFF)
        guard offset + size <= 4096 else { return try loadAcrossPages(linear, size) }
        let page = try translate(linear, write: false)
        guard let host = page.pointee.host else {
            return try readDevice(page.pointee.physical | UInt64(offset), size)
        }
        switch size {
        case 1: return UInt64((host + offset).load(as: UInt8.self))
        case 2: return UInt64((host + offset).loadUnaligned(as: UInt16.self))
        case 4: return UInt64((host + offset).loadUnaligned(as: UInt32.self))
        default: return (host + offset).loadUnaligned(as: UInt64.self)
        }
    }

    func store(_ value: UInt64, _ linear: UInt64, _ size: Int) throws(Interruption) {
        let offset = Int(linear & 0xFFF)
        guard offset + size <= 4096 else { return try storeAcrossPages(value, linear, size) }
        let page = try translate(linear, write: true)
        guard let host = page.pointee.host else {
            return try writeDevice(page.pointee.physical | UInt64(offset), size, value)
        }
        switch size {
        case 1: (host + offset).storeBytes(of: UInt8(truncatingIfNeeded: value), as: UInt8.self)
        case 2: (host + offset).storeBytes(of: UInt16(truncatingIfNeeded: value), as: UInt16.self)
        case 4: (host + offset).storeBytes(of: UInt32(truncatingIfNeeded: value), as: UInt32.self)
        default: (host + offset).storeBytes(of: value, as: UInt64.self)
        }
    }

    private func following(_ linear: UInt64, _ bytes: Int) -> UInt64 {
        let address = linear &+ UInt64(bytes)
        return mode == .long64 ? address : address & 0xFFFF_FFFF
    }

    private func loadAcrossPages(_ linear: UInt64, _ size: Int) throws(Interruption) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<size { value |= try load(following(linear, index), 1) << UInt64(8 * index) }
        return value
    }

    private func storeAcrossPages(_ value: UInt64, _ linear: UInt64, _ size: Int) throws(Interruption) {
        // Both pages must take the write before either is changed.
        _ = try translate(linear, write: true)
        _ = try translate(following(linear, size - 1), write: true)
        for index in 0..<size { try store(value >> UInt64(8 * index) & 0xFF, following(linear, index), 1) }
    }

    private func readDevice(_ physical: UInt64, _ size: Int) throws(Interruption) -> UInt64 {
        guard let value = bus.readDevice(physical, size: size) else {
            throw .unsupported("reading guest-physical \(hex(physical)), where there is neither RAM nor a device")
        }
        pendingEvent = .device(.memory)
        return value
    }

    private func writeDevice(_ physical: UInt64, _ size: Int, _ value: UInt64) throws(Interruption) {
        guard bus.writeDevice(physical, size: size, value: value) else {
            throw .unsupported("writing guest-physical \(hex(physical)), where there is neither RAM nor a device")
        }
        pendingEvent = .device(.memory)
    }

    // MARK: Segments (Intel SDM vol. 3, 5.3 to 5.5)

    /// Checks an access against its segment's limit and rights and gives its linear address.
    @inline(__always)
    func linear(_ number: Int, _ offset: UInt64, _ size: Int, write: Bool) throws(Interruption) -> UInt64 {
        let segment = segments[number]
        if mode == .long64 {
            let address = number >= 4 ? segment.base &+ offset : offset
            let top = Int64(bitPattern: address) >> 47
            guard top == 0 || top == -1 else { throw .exception(number == 2 ? .stack() : .protection()) }
            return address
        }
        let last = offset &+ UInt64(size) &- 1
        let isInside: Bool
        if segment.isExpandDown {
            isInside = offset > UInt64(segment.limit) && last <= (segment.isBig ? 0xFFFF_FFFF : 0xFFFF)
        } else {
            isInside = last <= UInt64(segment.limit)
        }
        let isAllowed = !isProtected || (segment.isPresent && (write ? segment.isWritable : segment.isReadable))
        guard isInside && isAllowed else { throw .exception(number == 2 ? .stack() : .protection()) }
        return (segment.base &+ offset) & 0xFFFF_FFFF
    }

    func load(_ number: Int, _ offset: UInt64, _ size: Int) throws(Interruption) -> UInt64 {
        try load(linear(number, offset, size, write: false), size)
    }

    func store(_ value: UInt64, _ number: Int, _ offset: UInt64, _ size: Int) throws(Interruption) {
        try store(value, linear(number, offset, size, write: true), size)
    }

    // MARK: Stack

    /// Bits of RSP that the stack uses: SS.B.
    var stackMask: UInt64 {
        mode == .long64 ? .max : segments[2].isBig ? 0xFFFF_FFFF : 0xFFFF
    }

    func setStackPointer(_ value: UInt64) {
        let mask = stackMask
        registers[4] = mask == 0xFFFF ? registers[4] & ~0xFFFF | value & 0xFFFF : value & mask
    }

    func push(_ value: UInt64, _ size: Int) throws(Interruption) {
        let top = (registers[4] &- UInt64(size)) & stackMask
        try store(value, 2, top, size)
        setStackPointer(top)
    }

    func pop(_ size: Int) throws(Interruption) -> UInt64 {
        let value = try load(2, registers[4] & stackMask, size)
        setStackPointer(registers[4] &+ UInt64(size))
        return value
    }
}
