import CPU

/// What the CPU offers, from CPUID, and the control registers set accordingly.
struct Processor {
    private(set) var hasXSave = false
    private(set) var hasFSGSBase = false
    private(set) var hasX2APIC = false
    private(set) var highestLeaf: UInt32 = 0
    /// AT_HWCAP: EDX of CPUID leaf 1.
    private(set) var hardwareCapabilities: UInt64 = 0

    static let cr4GlobalPages: UInt64 = 1 << 7
    static let cr4OSFXSR: UInt64 = 1 << 9
    static let cr4OSXMMExceptions: UInt64 = 1 << 10
    static let cr4FSGSBase: UInt64 = 1 << 16
    static let cr4OSXSave: UInt64 = 1 << 18

    mutating func start() {
        highestLeaf = cpu_cpuid(0, 0).eax
        let features = cpu_cpuid(1, 0)
        hasXSave = features.ecx >> 26 & 1 != 0
        hardwareCapabilities = UInt64(features.edx)
        hasX2APIC = features.ecx >> 21 & 1 != 0
        if highestLeaf >= 7 { hasFSGSBase = cpu_cpuid(7, 0).ebx & 1 != 0 }
        var cr4 = cpu_read_cr4() | Processor.cr4GlobalPages | Processor.cr4OSFXSR | Processor.cr4OSXMMExceptions
        if hasFSGSBase { cr4 |= Processor.cr4FSGSBase }
        cpu_write_cr4(cr4)
    }
}

nonisolated(unsafe) var processor = Processor()
