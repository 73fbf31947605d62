import GuestInterface

/// Boot by multiboot 1: 32-bit protected mode, EAX = magic, EBX = information (Multiboot Specification 0.6.96, 3.2 and 3.3).
extension BootLoader {
    /// The structures, all in the page at `BootLayout.bootInfo`.
    private enum MultibootLayout {
        static let information = BootLayout.bootInfo
        static let modules = information + 0x80
        static let memoryMap = information + 0x100
        static let loaderName = information + 0x200
        static let moduleName = information + 0x300
        static let moduleNameLimit = 0xCFF
        static let magic: UInt32 = 0x2BAD_B002
    }

    /// Bits of the information's flags: which of its fields are valid.
    private enum MultibootFields {
        static let memory: UInt32 = 1 << 0
        static let commandLine: UInt32 = 1 << 2
        static let modules: UInt32 = 1 << 3
        static let memoryMap: UInt32 = 1 << 6
        static let loaderName: UInt32 = 1 << 9
    }

    static func enterByMultiboot(
        _ configuration: MachineConfiguration, _ plan: KernelImage.LoadPlan, _ initrd: GuestPhysicalAddress,
        in memory: GuestMemory
    ) throws(MachineError) -> BootState {
        // The kernel's name comes first, as other loaders have it.
        let name = configuration.kernel.path.split(separator: "/").last.map(String.init) ?? ""
        let line = configuration.commandLine.isEmpty ? name : "\(name) \(configuration.commandLine)"
        try write(commandLine: Array(line.utf8) + [0], in: memory)
        let moduleName = configuration.initrdName
        guard moduleName.utf8.count < MultibootLayout.moduleNameLimit else {
            throw .invalidConfiguration("the module's name has \(moduleName.utf8.count) bytes, too many")
        }
        let ranges = MemoryRange.map(of: memory)
        let hasModule = !configuration.initrd.isEmpty

        var writer = FieldWriter(memory: memory, address: MultibootLayout.information)
        try writer.put(
            MultibootFields.memory | MultibootFields.commandLine | MultibootFields.modules
                | MultibootFields.memoryMap | MultibootFields.loaderName)
        // mem_lower, mem_upper in KiB: RAM from 0, and from 1 MiB to the first hole.
        try writer.put(UInt32(ranges[0].bytes >> 10))
        try writer.put(UInt32(memory.lowBytes > 1 << 20 ? (memory.lowBytes - 1 << 20) >> 10 : 0))
        // boot_device: none.
        try writer.put(UInt32(0))
        try writer.put(UInt32(BootLayout.commandLine))
        try writer.put(UInt32(hasModule ? 1 : 0))
        try writer.put(UInt32(MultibootLayout.modules))
        // syms: none.
        for _ in 0..<4 { try writer.put(UInt32(0)) }
        try writer.put(UInt32(ranges.count * 24))
        try writer.put(UInt32(MultibootLayout.memoryMap))
        // drives_length, drives_addr, config_table: none.
        for _ in 0..<3 { try writer.put(UInt32(0)) }
        try writer.put(UInt32(MultibootLayout.loaderName))

        writer = FieldWriter(memory: memory, address: MultibootLayout.modules)
        if hasModule {
            try writer.put(UInt32(initrd.rawValue))
            try writer.put(UInt32(initrd.rawValue) + UInt32(configuration.initrd.count))
            try writer.put(UInt32(MultibootLayout.moduleName))
            try writer.put(UInt32(0))
        }
        writer = FieldWriter(memory: memory, address: MultibootLayout.memoryMap)
        for range in ranges {
            // The size of an entry does not count itself.
            try writer.put(UInt32(20))
            try writer.put(range.start)
            try writer.put(range.bytes)
            try writer.put(range.type)
        }
        writer = FieldWriter(memory: memory, address: MultibootLayout.loaderName)
        try writer.put(string: "vbench")
        writer = FieldWriter(memory: memory, address: MultibootLayout.moduleName)
        try writer.put(string: moduleName)
        try writeFirmwareData(to: memory)
        return BootState(
            protectedModeEntry: UInt32(truncatingIfNeeded: plan.entry.rawValue), rax: MultibootLayout.magic,
            rbx: UInt32(MultibootLayout.information), gdtBase: BootLayout.gdt, gdtLimit: try writeGDT(to: memory))
    }
}
