/// Room for the host code of the largest block, used again for every block.
final class CodeBuffer {
    /// A block's 64 instructions take far less: the longest sequence of one is below 200 bytes, its stub 40.
    static let capacity = 64 << 10
    // Invariant: `capacity` bytes from init to deinit; `CodeEmitter` checks every offset.
    let bytes: UnsafeMutablePointer<UInt8> = .allocate(capacity: CodeBuffer.capacity)

    deinit { bytes.deallocate() }
}

/// Appends host instructions to a buffer. Small emitters, named for what they emit; none changes flags.
struct CodeEmitter {
    private let buffer: CodeBuffer
    /// Bytes emitted so far.
    private(set) var offset = 0
    private(set) var map: [MapEntry] = []
    let layout: VCPULayout
    /// Segment override of guest memory operands: FS, the window base, for ring 0; none for ring 3, which sees its own addresses.
    let guestPrefix: UInt8?

    /// Begins a block in `buffer`, which is one block's at a time.
    init(layout: VCPULayout, guestPrefix: UInt8?, buffer: CodeBuffer) {
        self.layout = layout
        self.guestPrefix = guestPrefix
        self.buffer = buffer
        map.reserveCapacity(160)
    }

    /// A copy of what was emitted.
    var code: [UInt8] { [UInt8](UnsafeBufferPointer(start: buffer.bytes, count: offset)) }

    /// From here on the guest's state is: about to execute `guestRIP`, once `undo` is done.
    mutating func mark(_ guestRIP: UInt64, _ undo: Undo = []) {
        let here = UInt32(offset)
        if let last = map.last, last.hostOffset == here { map.removeLast() }
        map.append(MapEntry(hostOffset: here, undo: undo, guestRIP: guestRIP))
    }

    @inline(__always)
    mutating func byte(_ value: UInt8) {
        precondition(offset < CodeBuffer.capacity)
        buffer.bytes[offset] = value
        offset += 1
    }

    mutating func raw(_ first: UInt8, _ second: UInt8) {
        byte(first)
        byte(second)
    }

    mutating func raw(_ first: UInt8, _ second: UInt8, _ third: UInt8) {
        raw(first, second)
        byte(third)
    }

    mutating func raw(_ first: UInt8, _ second: UInt8, _ third: UInt8, _ fourth: UInt8) {
        raw(first, second)
        raw(third, fourth)
    }

    mutating func raw(_ first: UInt8, _ second: UInt8, _ third: UInt8, _ fourth: UInt8, _ fifth: UInt8) {
        raw(first, second, third)
        raw(fourth, fifth)
    }

    @inline(__always)
    mutating func raw(_ values: some Sequence<UInt8>) {
        for value in values { byte(value) }
    }

    mutating func word32(_ value: Int32) {
        precondition(offset + 4 <= CodeBuffer.capacity)
        UnsafeMutableRawPointer(buffer.bytes + offset).storeBytes(of: value, as: Int32.self)
        offset += 4
    }

    mutating func word64(_ value: UInt64) {
        word32(Int32(truncatingIfNeeded: value))
        word32(Int32(truncatingIfNeeded: value >> 32))
    }

    mutating func patch8(at offset: Int, _ value: UInt8) { buffer.bytes[offset] = value }

    mutating func patch32(at offset: Int, _ value: Int32) {
        UnsafeMutableRawPointer(buffer.bytes + offset).storeBytes(of: value, as: Int32.self)
    }

    /// `mov gs:[slot], register`
    mutating func store(_ register: Register, to slot: Int32) {
        raw(0x65, 0x48 | (register.rawValue >> 3) << 2, 0x89, 0x04 | (register.rawValue & 7) << 3, 0x25)
        word32(slot)
    }

    /// `mov register, gs:[slot]`
    mutating func load(_ register: Register, from slot: Int32) {
        raw(0x65, 0x48 | (register.rawValue >> 3) << 2, 0x8B, 0x04 | (register.rawValue & 7) << 3, 0x25)
        word32(slot)
    }

    mutating func spill(_ register: Register) { store(register, to: layout.spill(register)) }
    mutating func unspill(_ register: Register) { load(register, from: layout.spill(register)) }

    /// `mov qword gs:[slot], value` (sign-extended)
    mutating func store(value: Int32, to slot: Int32) {
        raw(0x65, 0x48, 0xC7, 0x04, 0x25)
        word32(slot)
        word32(value)
    }

    /// `mov qword gs:[slot], value`, in one or two stores
    mutating func store(value64: UInt64, to slot: Int32) {
        if let short = Int32(exactly: Int64(bitPattern: value64)) {
            store(value: short, to: slot)
        } else {
            for half in 0..<2 {
                raw(0x65, 0xC7, 0x04, 0x25)
                word32(slot + Int32(half) * 4)
                word32(Int32(truncatingIfNeeded: value64 >> (UInt64(half) * 32)))
            }
        }
    }

    /// `mov register, value`, in its shortest form
    mutating func load(_ register: Register, value: UInt64) {
        if let short = Int32(exactly: Int64(bitPattern: value)) {
            raw(0x48 | register.rawValue >> 3, 0xC7, 0xC0 | register.rawValue & 7)
            word32(short)
        } else {
            raw(0x48 | register.rawValue >> 3, 0xB8 | register.rawValue & 7)
            word64(value)
        }
    }

    /// `mov destination, source`
    mutating func move(_ destination: Register, _ source: Register) {
        raw(
            0x48 | (source.rawValue >> 3) << 2 | destination.rawValue >> 3, 0x89,
            0xC0 | (source.rawValue & 7) << 3 | destination.rawValue & 7)
    }

    /// `lea register, [register + other]`
    mutating func add(_ other: Register, to register: Register) {
        // RSP cannot be an index; RBP and R13 as base need a displacement, so one is always given.
        raw(
            0x48 | (register.rawValue >> 3) << 2 | (other.rawValue >> 3) << 1 | register.rawValue >> 3,
            0x8D,
            0x44 | (register.rawValue & 7) << 3, (other.rawValue & 7) << 3 | register.rawValue & 7, 0)
    }

    /// `lea register, [other + register]`, where `other` may be RSP and `register` may not
    mutating func join(_ other: Register, to register: Register) {
        raw(
            0x48 | (register.rawValue >> 3) << 2 | (register.rawValue >> 3) << 1 | other.rawValue >> 3, 0x8D,
            0x44 | (register.rawValue & 7) << 3, (register.rawValue & 7) << 3 | other.rawValue & 7, 0)
    }

    /// `lea destination, [base + displacement]`
    mutating func address(_ destination: Register, _ base: Register, _ displacement: Int32) {
        raw(
            0x48 | (destination.rawValue >> 3) << 2 | base.rawValue >> 3, 0x8D,
            0x80 | (destination.rawValue & 7) << 3 | base.rawValue & 7)
        if base.rawValue & 7 == 4 { byte(0x24) }
        word32(displacement)
    }

    /// The prefix of an instruction that accesses guest memory.
    mutating func prefixGuestAccess() {
        if let guestPrefix { byte(guestPrefix) }
    }

    /// `mov guest:[base + displacement], source`
    mutating func storeGuest(_ source: Register, base: Register, displacement: Int32) {
        guestAccess(0x89, source, base, displacement)
    }

    /// `mov destination, guest:[base + displacement]`
    mutating func loadGuest(_ destination: Register, base: Register, displacement: Int32) {
        guestAccess(0x8B, destination, base, displacement)
    }

    private mutating func guestAccess(
        _ opcode: UInt8, _ register: Register, _ base: Register, _ displacement: Int32
    ) {
        prefixGuestAccess()
        raw(
            0x48 | (register.rawValue >> 3) << 2 | base.rawValue >> 3, opcode,
            0x80 | (register.rawValue & 7) << 3 | base.rawValue & 7)
        if base.rawValue & 7 == 4 { byte(0x24) }
        word32(displacement)
    }

    /// `mov qword guest:[rsp - 8], value` in one store, or two when the value does not sign-extend from 32 bits
    mutating func storeBelowStack(value: UInt64) {
        if let short = Int32(exactly: Int64(bitPattern: value)) {
            prefixGuestAccess()
            raw(0x48, 0xC7, 0x44, 0x24, 0xF8)
            word32(short)
        } else {
            for half in 0..<2 {
                prefixGuestAccess()
                raw(0xC7, 0x44, 0x24, UInt8(bitPattern: Int8(-8 + 4 * half)))
                word32(Int32(truncatingIfNeeded: value >> (UInt64(half) * 32)))
            }
        }
    }

    /// `jmp gs:[slot]`
    mutating func jump(through slot: Int32) {
        raw(0x65, 0xFF, 0x24, 0x25)
        word32(slot)
    }
}
