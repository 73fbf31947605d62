import CLinux
import Glibc
import Machine
import Translator

/// Translated blocks: host code in a memfd mapped twice (one mapping writable, one executable: W^X), a table from guest
/// address to block, and the links between blocks.
///
/// When it is full, or code may have changed, everything is dropped at once: every block can be made again, and no branch
/// can be left that goes to a block that is gone.
final class CodeCache {
    struct Block {
        var guestStart: UInt64
        var guestBytes: Int
        var host: UInt64
        var directEntry: UInt64
        var map: [MapEntry]

        /// How the guest stands when the host is at `address` in this block.
        func entry(at address: UInt64) -> MapEntry {
            map.covering(UInt32(truncatingIfNeeded: address &- host))
        }
    }

    private struct Exit {
        var target: UInt64
        /// Offset in the cache of the branch's rel32 field.
        var field: Int
    }

    let capacity: Int
    private let descriptor: Int32
    private let writable: UnsafeMutableRawPointer
    private let executable: UnsafeMutableRawPointer
    private var used = 0
    /// In the order of their host addresses.
    private(set) var blocks: [Block] = []
    private var exits: [Exit] = []
    /// Open addressing; keys are guest addresses plus one, values block numbers.
    private let keys: UnsafeMutablePointer<UInt64>
    private let values: UnsafeMutablePointer<UInt32>
    private static let slots = 1 << 16
    private let vcpu: UnsafeMutablePointer<vb_sw_vcpu>

    /// Counts up with every flush, so that a caller can tell that what it holds is stale.
    private(set) var generation: UInt64 = 0
    private(set) var flushes: UInt64 = 0
    private(set) var translatedInstructions: UInt64 = 0
    private(set) var translatedBlocks: UInt64 = 0

    init(capacity: Int, vcpu: UnsafeMutablePointer<vb_sw_vcpu>) throws(MachineError) {
        self.capacity = capacity
        self.vcpu = vcpu
        let descriptor = clinux_sealed_memfd("vbench-code-cache", UInt(capacity))
        guard descriptor >= 0 else { throw .last("memfd_create for the code cache") }
        guard let writable = mmap(nil, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0),
            writable != MAP_FAILED,
            let executable = mmap(nil, capacity, PROT_READ | PROT_EXEC, MAP_SHARED, descriptor, 0),
            executable != MAP_FAILED
        else {
            let error = MachineError.last("mmap of the code cache")
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        self.writable = writable
        self.executable = executable
        keys = .allocate(capacity: Self.slots)
        keys.initialize(repeating: 0, count: Self.slots)
        values = .allocate(capacity: Self.slots)
        values.initialize(repeating: 0, count: Self.slots)
        vcpu.pointee.code_begin = UInt64(UInt(bitPattern: executable))
        vcpu.pointee.code_end = vcpu.pointee.code_begin + UInt64(capacity)
        clearTable()
    }

    deinit {
        munmap(writable, capacity)
        munmap(executable, capacity)
        close(descriptor)
        keys.deallocate()
        values.deallocate()
    }

    private var table: UnsafeMutablePointer<UInt64> {
        UnsafeMutableRawPointer(vcpu).advanced(by: Int(VB_SW_TABLE)).assumingMemoryBound(
            to: UInt64.self)
    }

    private func clearTable() {
        table.update(repeating: vcpu.pointee.miss_stub, count: Int(VB_SW_TABLE_ENTRIES))
    }

    @inline(__always)
    private func slot(of address: UInt64) -> Int {
        var index = Int(truncatingIfNeeded: (address &* 0x9E37_79B9_7F4A_7C15) >> 48)
        while keys[index] != 0 && keys[index] != address &+ 1 { index = (index + 1) & (Self.slots - 1) }
        return index
    }

    /// Number of the block that starts at a guest address.
    func find(_ address: UInt64) -> Int? {
        let index = slot(of: address)
        return keys[index] == 0 ? nil : Int(values[index])
    }

    /// The block whose host code holds `address`.
    func block(containing address: UInt64) -> Int? {
        var low = 0
        var high = blocks.count
        while low < high {
            let middle = (low + high) / 2
            if blocks[middle].host <= address { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? nil : low - 1
    }

    func directEntry(_ block: Int) -> UInt64 { blocks[block].directEntry }

    /// Takes a block in, dropping everything first when it does not fit. Returns its number.
    func insert(_ translated: TranslatedBlock) -> Int {
        if used + translated.code.count > capacity || blocks.count >= Self.slots / 2 { flush() }
        let host = UInt64(UInt(bitPattern: executable)) + UInt64(used)
        let target = writable + used
        translated.code.withUnsafeBytes {
            target.copyMemory(from: $0.baseAddress!, byteCount: $0.count)
        }
        for exit in translated.exits {
            (target + exit.identifierOffset).storeBytes(of: UInt32(exits.count), as: UInt32.self)
            exits.append(Exit(target: exit.target, field: used + exit.displacementOffset))
        }
        let number = blocks.count
        blocks.append(
            Block(
                guestStart: translated.guestStart, guestBytes: translated.guestBytes, host: host,
                directEntry: host + UInt64(translated.directEntry), map: translated.map))
        let index = slot(of: translated.guestStart)
        keys[index] = translated.guestStart &+ 1
        values[index] = UInt32(number)
        used = (used + translated.code.count + 15) & ~15
        translatedBlocks &+= 1
        translatedInstructions &+= UInt64(translated.instructionCount)
        return number
    }

    /// Guest address that a chained exit goes to.
    func target(ofExit identifier: UInt64) -> UInt64 { exits[Int(identifier)].target }

    /// Lets an exit branch straight to its target's block.
    func link(exit identifier: UInt64, to block: Int) {
        let field = exits[Int(identifier)].field
        let next = UInt64(UInt(bitPattern: executable)) + UInt64(field) + 4
        (writable + field).storeBytes(
            of: Int32(truncatingIfNeeded: Int64(bitPattern: blocks[block].directEntry &- next)),
            as: Int32.self)
    }

    /// Lets indirect branches to the block's address find it.
    func enterInTable(_ block: Int) {
        table[Int(blocks[block].guestStart & 0xFFFF)] = blocks[block].host
    }

    func flush() {
        guard !blocks.isEmpty else { return }
        generation &+= 1
        flushes &+= 1
        used = 0
        blocks.removeAll(keepingCapacity: true)
        exits.removeAll(keepingCapacity: true)
        keys.update(repeating: 0, count: Self.slots)
        clearTable()
    }
}
