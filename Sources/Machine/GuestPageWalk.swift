/// Walks a guest's 4-level page tables in software, for diagnosis and emulation.
///
/// Safety: table addresses come from the guest; every read is bounds-checked by `GuestMemory`, and the depth is fixed.
public struct GuestPageWalk {
    private let memory: GuestMemory
    private let root: UInt64

    /// Tables of a 4-level long-mode address space whose PML4 is at `root` (CR3; its low bits are ignored).
    public init(memory: GuestMemory, root: UInt64) {
        self.memory = memory
        self.root = root
    }

    /// Where a linear address leads, nil when it is not mapped. Permissions are not looked at.
    public func translate(_ address: UInt64) -> GuestPhysicalAddress? {
        // Bits 51:12 of an entry are the next address; bit 7 ends the walk early (Intel SDM vol. 3, 4.5.4).
        let frame: UInt64 = 0x000F_FFFF_FFFF_F000
        var table = root & frame
        for level in stride(from: 3, through: 0, by: -1) {
            let shift = UInt64(12 + 9 * level)
            let index = address >> shift & 0x1FF
            guard let entry = try? memory.read(UInt64.self, at: GuestPhysicalAddress(table + index * 8)),
                entry & 1 != 0
            else { return nil }
            if level == 0 || (level <= 2 && entry & 0x80 != 0) {
                let offset = address & ((1 << shift) - 1)
                return GuestPhysicalAddress(entry & frame & ~((1 << shift) - 1) | offset)
            }
            table = entry & frame
        }
        return nil
    }

    /// Up to `count` bytes at a linear address, fewer where the mapping or RAM ends.
    public func read(_ address: UInt64, count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let (at, overflow) = address.addingReportingOverflow(UInt64(bytes.count))
            let chunk = min(UInt64(count - bytes.count), 4096 - at & 0xFFF)
            guard !overflow, let physical = translate(at),
                let part = try? memory.readBytes(at: physical, count: chunk)
            else { break }
            bytes += part
        }
        return bytes
    }
}
