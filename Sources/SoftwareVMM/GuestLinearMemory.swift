import GuestInterface
import Machine

/// Guest memory by linear address, as the VMM itself accesses it for the guest: descriptor tables, stacks, string I/O.
struct GuestLinearMemory {
    let memory: GuestMemory
    let walk: PageTableWalk

    init(memory: GuestMemory) {
        self.memory = memory
        walk = PageTableWalk(memory: memory)
    }

    /// Guest-physical address of `address`, with accessed and dirty bits set. Throws the page fault the guest must see.
    func translate(_ address: UInt64, _ access: Access, _ mode: PagingMode) throws(GuestException)
        -> UInt64
    {
        guard AddressMap.isCanonical(address) else { throw .protection }
        switch walk.translate(address, access, mode) {
        case .translated(let translation): return translation.physical(address)
        case .fault(let code):
            throw GuestException(vector: GuestException.pageFault, errorCode: code, address: address)
        }
    }

    /// Copies `count` bytes of guest memory to `destination`. Bytes outside RAM read as ones.
    func read(
        _ address: UInt64, into destination: UnsafeMutableRawPointer, count: Int, _ access: Access,
        _ mode: PagingMode
    ) throws(GuestException) {
        var done = 0
        while done < count {
            let current = address &+ UInt64(done)
            let chunk = min(count - done, Int(4096 - current & 0xFFF))
            let physical = try translate(current, access, mode)
            if let source = memory.pointer(to: GuestPhysicalAddress(physical), count: UInt64(chunk)) {
                (destination + done).copyMemory(from: source, byteCount: chunk)
            } else {
                (destination + done).initializeMemory(as: UInt8.self, repeating: 0xFF, count: chunk)
            }
            done += chunk
        }
    }

    func load<T: BitwiseCopyable & ExpressibleByIntegerLiteral>(
        _ address: UInt64, as type: T.Type = T.self, user: Bool = false, _ mode: PagingMode
    ) throws(GuestException) -> T {
        var value: T = 0
        try withUnsafeMutableBytes(of: &value) { (bytes) throws(GuestException) in
            try read(address, into: bytes.baseAddress!, count: bytes.count, Access(user: user), mode)
        }
        return value
    }

    /// Stores 8 bytes; returns the memfd offset of the page written (the last one, should it cross), so that the caller can tell code pages.
    func store(_ value: UInt64, at address: UInt64, user: Bool = false, _ mode: PagingMode) throws(GuestException)
        -> UInt64?
    {
        let access = Access(write: true, user: user)
        let first = try translate(address, access, mode)
        if first & 0xFFF <= 4088 {
            guard let target = memory.pointer(to: GuestPhysicalAddress(first), count: 8) else {
                return nil
            }
            target.storeBytes(of: value, as: UInt64.self)
            return memory.fileOffset(of: GuestPhysicalAddress(first & ~0xFFF))
        }
        var page: UInt64?
        for index in 0..<UInt64(8) {
            let physical = try translate(address &+ index, access, mode)
            guard let target = memory.pointer(to: GuestPhysicalAddress(physical), count: 1) else {
                continue
            }
            target.storeBytes(of: UInt8(truncatingIfNeeded: value >> (index * 8)), as: UInt8.self)
            page = memory.fileOffset(of: GuestPhysicalAddress(physical & ~0xFFF))
        }
        return page
    }
}
