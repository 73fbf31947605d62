/// How a kernel is entered and told of its machine.
public enum BootProtocol: String, CaseIterable, Sendable, Codable {
    /// 64-bit mode, RDI = `BootInfo`: vbench's own.
    case vbench
    /// 32-bit protected mode, EBX = `hvm_start_info` (xen/docs/misc/pvh.pandoc).
    case pvh
    /// 32-bit protected mode, EBX = multiboot information (Multiboot Specification 0.6.96).
    case multiboot
}

extension BootLoader {
    /// What early code of PC kernels reads of firmware's data area: segment of the EBDA, KiB of base memory (IBM PC BIOS, 40:0E and
    /// 40:13).
    static func writeFirmwareData(to memory: GuestMemory) throws(MachineError) {
        try memory.write(UInt16(MemoryRange.baseMemoryEnd >> 4), at: GuestPhysicalAddress(0x40E))
        try memory.write(UInt16(MemoryRange.baseMemoryEnd >> 10), at: GuestPhysicalAddress(0x413))
    }
}

/// One range of the guest's physical memory, as kernels are told of it (E820 types: 1 RAM, 2 reserved).
struct MemoryRange: Equatable {
    var start: UInt64
    var bytes: UInt64
    var type: UInt32

    /// RAM below 1 MiB ends here, where the EBDA begins.
    static let baseMemoryEnd: UInt64 = 0x9_FC00

    /// The PC's layout: RAM to the EBDA, video and ROM ranges left out, RAM from 1 MiB, RAM from 4 GiB.
    static func map(of memory: GuestMemory) -> [MemoryRange] {
        let lowEnd = baseMemoryEnd
        let mebibyte: UInt64 = 1 << 20
        var ranges = [
            MemoryRange(start: 0, bytes: min(memory.lowBytes, lowEnd), type: 1),
            MemoryRange(start: lowEnd, bytes: 0x400, type: 2),
            MemoryRange(start: 0xF_0000, bytes: 0x1_0000, type: 2),
        ]
        if memory.lowBytes > mebibyte {
            ranges.append(MemoryRange(start: mebibyte, bytes: memory.lowBytes - mebibyte, type: 1))
        }
        if memory.highBytes > 0 { ranges.append(MemoryRange(start: 4 << 30, bytes: memory.highBytes, type: 1)) }
        return ranges
    }
}
