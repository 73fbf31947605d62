import GuestInterface

/// Boot by PVH: 32-bit protected mode, EBX = `hvm_start_info` (xen/include/public/arch-x86/hvm/start_info.h, version 1).
extension BootLoader {
    /// The structures, all in the page at `BootLayout.bootInfo`.
    private enum PVHLayout {
        static let startInfo = BootLayout.bootInfo
        static let moduleList = startInfo + 0x40
        static let memoryMap = startInfo + 0x80
        static let magic: UInt32 = 0x336E_C578
        static let version: UInt32 = 1
    }

    static func enterByPVH(
        _ configuration: MachineConfiguration, _ plan: KernelImage.LoadPlan, _ initrd: GuestPhysicalAddress,
        in memory: GuestMemory
    ) throws(MachineError) -> BootState {
        try write(commandLine: Array(configuration.commandLine.utf8) + [0], in: memory)
        let hasModule = !configuration.initrd.isEmpty
        let ranges = MemoryRange.map(of: memory)
        var writer = FieldWriter(memory: memory, address: PVHLayout.startInfo)
        try writer.put(PVHLayout.magic)
        try writer.put(PVHLayout.version)
        // flags, nr_modules
        try writer.put(UInt32(0))
        try writer.put(UInt32(hasModule ? 1 : 0))
        try writer.put(hasModule ? PVHLayout.moduleList : 0)
        try writer.put(BootLayout.commandLine)
        // rsdp_paddr: no ACPI tables.
        try writer.put(UInt64(0))
        try writer.put(PVHLayout.memoryMap)
        try writer.put(UInt32(ranges.count))
        try writer.put(UInt32(0))

        // hvm_modlist_entry: address, size, command line, reserved.
        writer = FieldWriter(memory: memory, address: PVHLayout.moduleList)
        for field in [initrd.rawValue, UInt64(configuration.initrd.count), 0, 0] { try writer.put(field) }

        // hvm_memmap_table_entry
        writer = FieldWriter(memory: memory, address: PVHLayout.memoryMap)
        for range in ranges {
            try writer.put(range.start)
            try writer.put(range.bytes)
            try writer.put(range.type)
            try writer.put(UInt32(0))
        }
        try writeFirmwareData(to: memory)
        return BootState(
            protectedModeEntry: UInt32(truncatingIfNeeded: plan.entry.rawValue),
            rbx: UInt32(PVHLayout.startInfo), gdtBase: BootLayout.gdt, gdtLimit: try writeGDT(to: memory))
    }
}

/// Writes the fields of a structure one after the other.
struct FieldWriter {
    let memory: GuestMemory
    private(set) var address: UInt64

    init(memory: GuestMemory, address: UInt64) {
        self.memory = memory
        self.address = address
    }

    mutating func put<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) throws(MachineError) {
        try memory.write(value, at: GuestPhysicalAddress(address))
        address += UInt64(MemoryLayout<T>.size)
    }

    /// A C string.
    mutating func put(string: String) throws(MachineError) {
        for byte in string.utf8 { try put(byte) }
        try put(UInt8(0))
    }
}
