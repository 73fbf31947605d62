import Glibc
import GuestInterface
import Host

/// Puts a kernel and what it is told into guest memory.
///
///     0x0000_1000  GDT                                kernel where its file says (Nub: 0x0020_0000)
///     0x0000_2000  PML4, PDPT, 4 page directories     multiboot: module behind the kernel
///     0x0000_8000  BootInfo, or what PVH and          top of low RAM, downward: initrd
///                  multiboot have for it
///     0x0000_9000  command line
///     0x0001_0000  mailbox
public enum BootLoader {
    /// Loads everything by the configuration's boot protocol and says how to enter the kernel. `memory` must be fresh (all zero).
    ///
    /// The last four parameters only reach kernels of the vbench protocol.
    ///
    /// - Parameters:
    ///   - tscHertz: frequency of the guest's TSC.
    ///   - apicTimerHertz: input clock of its local-APIC timer.
    ///   - quirks: `BootQuirks` bits.
    ///   - bootTSC: guest TSC now.
    /// - Throws: `outOfGuestMemory` when kernel or initrd do not fit, `invalidConfiguration` for a command line that is
    ///   too long, `invalidKernel` when the kernel has no entry for the protocol.
    public static func load(
        _ configuration: MachineConfiguration, into memory: GuestMemory, tscHertz: UInt64, apicTimerHertz: UInt64,
        quirks: UInt64, bootTSC: UInt64 = TimestampCounter.now()
    ) throws(MachineError) -> BootState {
        let plan = try configuration.kernel.plan(for: configuration.bootProtocol)
        let initrdAddress = try layOut(configuration, plan, in: memory)
        for segment in plan.segments {
            try copy(configuration.kernel.bytes, segment.fileRange, to: segment.physicalAddress, in: memory)
        }
        try copy(configuration.initrd, configuration.initrd.indices, to: initrdAddress, in: memory)
        // The header stays zero until the guest initialises it: a drain before that finds no records.
        try zero(GuestPhysicalAddress(BootLayout.mailbox), count: MailboxHeader.bytes, in: memory)
        switch configuration.bootProtocol {
        case .vbench: break
        case .pvh: return try enterByPVH(configuration, plan, initrdAddress, in: memory)
        case .multiboot: return try enterByMultiboot(configuration, plan, initrdAddress, in: memory)
        }
        let commandLine = Array(configuration.commandLine.utf8)
        try write(commandLine: commandLine, in: memory)

        var info = BootInfo()
        info.lowMemoryBytes = memory.lowBytes
        info.highMemoryBytes = memory.highBytes
        info.initrdAddress = initrdAddress.rawValue
        info.initrdBytes = UInt64(configuration.initrd.count)
        info.commandLineAddress = BootLayout.commandLine
        info.commandLineBytes = UInt64(commandLine.count)
        info.mailboxAddress = BootLayout.mailbox
        info.mailboxBytes = BootLayout.mailboxBytes
        info.tscHertz = tscHertz
        info.apicTimerHertz = apicTimerHertz
        info.wallClockNanoseconds = wallClockNanoseconds()
        info.bootTSC = bootTSC
        var generator = SplitMix64(state: configuration.seed)
        info.randomSeed0 = generator.next()
        info.randomSeed1 = generator.next()
        info.quirks = quirks
        info.testDeviceAddress = BootLayout.testDevice
        try memory.write(info, at: GuestPhysicalAddress(BootLayout.bootInfo))
        try writePageTables(to: memory)
        let gdtLimit = try writeGDT(to: memory)
        return BootState(
            rip: plan.entry.rawValue, rdi: BootLayout.bootInfo, cr3: BootLayout.pageTables, gdtBase: BootLayout.gdt,
            gdtLimit: gdtLimit)
    }

    /// Prepares memory for code that the VMM itself has put at `entry`, below 4 GiB: the vbench protocol's tables without a boot info.
    public static func enterBare(at entry: UInt64, in memory: GuestMemory) throws(MachineError) -> BootState {
        try writePageTables(to: memory)
        let gdtLimit = try writeGDT(to: memory)
        return BootState(
            rip: entry, rdi: 0, cr3: BootLayout.pageTables, gdtBase: BootLayout.gdt, gdtLimit: gdtLimit)
    }

    /// Throws `invalidConfiguration` when it is too long for its page.
    static func write(commandLine: [UInt8], in memory: GuestMemory) throws(MachineError) {
        guard commandLine.count <= BootLayout.commandLineLimit else {
            throw .invalidConfiguration(
                "the guest's command line has \(commandLine.count) bytes; \(BootLayout.commandLineLimit) fit")
        }
        try copy(commandLine, commandLine.indices, to: GuestPhysicalAddress(BootLayout.commandLine), in: memory)
    }

    /// Address of the initrd: page-aligned, clear of the kernel; as high in low RAM as it fits, or right behind a multiboot kernel,
    /// as other loaders put it.
    private static func layOut(
        _ configuration: MachineConfiguration, _ plan: KernelImage.LoadPlan, in memory: GuestMemory
    ) throws(MachineError) -> GuestPhysicalAddress {
        let kernelEnd = max(plan.endAddress.rawValue, BootLayout.kernel)
        guard kernelEnd <= memory.lowBytes else {
            throw .outOfGuestMemory(neededBytes: kernelEnd, availableBytes: memory.bytes, purpose: "the kernel")
        }
        let initrdBytes = (UInt64(configuration.initrd.count) + 4095) & ~4095
        let firstFree = (kernelEnd + 4095) & ~4095
        guard initrdBytes <= memory.lowBytes, firstFree <= memory.lowBytes - initrdBytes else {
            throw .outOfGuestMemory(
                neededBytes: firstFree + initrdBytes, availableBytes: memory.bytes,
                purpose: "the kernel with its initial files")
        }
        if configuration.bootProtocol == .multiboot { return GuestPhysicalAddress(firstFree) }
        return GuestPhysicalAddress((memory.lowBytes - initrdBytes) & ~4095)
    }

    /// [0, 4 GiB) mapped to itself in 2 MiB pages (Intel SDM vol. 3, 4.5).
    private static func writePageTables(to memory: GuestMemory) throws(MachineError) {
        let present: UInt64 = 1 << 0
        let writable: UInt64 = 1 << 1
        let large: UInt64 = 1 << 7
        let root = GuestPhysicalAddress(BootLayout.pageTables)
        let pointers = root + 0x1000
        let directories = root + 0x2000
        try memory.write(pointers.rawValue | present | writable, at: root)
        for gigabyte in 0..<UInt64(4) {
            let directory = directories + gigabyte * 0x1000
            try memory.write(directory.rawValue | present | writable, at: pointers + gigabyte * 8)
            for entry in 0..<UInt64(512) {
                let target = gigabyte << 30 | entry << 21
                try memory.write(target | present | writable | large, at: directory + entry * 8)
            }
        }
    }

    /// Null, 32-bit code at 0x08, 64-bit code at 0x10, data at 0x18, all accessed (Intel SDM vol. 3, 3.4.5). Returns the limit.
    static func writeGDT(to memory: GuestMemory) throws(MachineError) -> UInt16 {
        let descriptors: [UInt64] = [0, 0x00CF_9B00_0000_FFFF, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF]
        for (index, descriptor) in descriptors.enumerated() {
            try memory.write(descriptor, at: GuestPhysicalAddress(BootLayout.gdt + UInt64(index) * 8))
        }
        return UInt16(descriptors.count * 8 - 1)
    }

    static func copy(
        _ bytes: [UInt8], _ range: Range<Int>, to address: GuestPhysicalAddress, in memory: GuestMemory
    ) throws(MachineError) {
        guard !range.isEmpty else { return }
        guard let target = memory.pointer(to: address, count: UInt64(range.count)) else {
            throw .badGuestAddress(address, bytes: UInt64(range.count))
        }
        bytes.withUnsafeBytes { source in
            target.copyMemory(from: source.baseAddress! + range.lowerBound, byteCount: range.count)
        }
    }

    private static func zero(
        _ address: GuestPhysicalAddress, count: UInt64, in memory: GuestMemory
    ) throws(MachineError) {
        guard let target = memory.pointer(to: address, count: count) else {
            throw .badGuestAddress(address, bytes: count)
        }
        memset(target, 0, Int(count))
    }

    private static func wallClockNanoseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

/// Spreads one seed over as many words as are asked for (Steele, Lea & Flood, OOPSLA 2014).
public struct SplitMix64: Sendable {
    private var state: UInt64

    public init(state: UInt64) { self.state = state }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }
}
