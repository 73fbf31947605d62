import CPU

/// GDT, TSS, IDT and the system-call registers.
enum DescriptorTables {
    private static let kernelCode: UInt64 = 0x10
    private static let timerVector = 32
    private static let spuriousVector = 255

    static func start(quirks: UInt64) {
        let tss = withUnsafeMutablePointer(to: &cpu_tss) { addressOf($0) }
        cpu_tss.rsp0 = kernel_boot_stack_top()
        // IST 1: double fault. IST 2: NMI and machine check.
        cpu_tss.ist.0 = kernel_exception_stack_top()
        cpu_tss.ist.1 = kernel_nmi_stack_top()
        let gdt = kernel_gdt().assumingMemoryBound(to: UInt64.self)
        gdt[7] = 103 | (tss & 0xFF_FFFF) << 16 | 0x89 << 40 | (tss >> 24 & 0xFF) << 56
        gdt[8] = tss >> 32
        for vector in 0..<Int(KERNEL_TRAP_ENTRIES) {
            setGate(
                vector, kernel_trap_entry(UInt32(vector)), ist: vector == 8 ? 1 : vector == 2 || vector == 18 ? 2 : 0)
        }
        if quirks & BootQuirks.syscallKeepsRing3 != 0 {
            setGate(14, kernel_page_fault_or_system_call_entry(), ist: 0)
        }
        setGate(spuriousVector, kernel_spurious_entry(), ist: 0)
        let sysretWorks = quirks & BootQuirks.noSysret == 0
        cpu_load_descriptor_tables()

        // STAR: kernel selectors 0x10/0x18, user 0x2B/0x33; LSTAR; FMASK clears TF, IF, DF, IOPL, NT, RF, AC … (SDM
        // vol. 3A 5.8.8).
        cpu_wrmsr(0xC000_0081, 0x23 << 48 | kernelCode << 32)
        cpu_wrmsr(0xC000_0082, kernel_system_call_entry(sysretWorks ? 1 : 0))
        cpu_wrmsr(0xC000_0084, 0x25_7FD5)
    }

    /// Both words of a gate of the IDT.
    typealias Gate = (low: UInt64, high: UInt64)

    /// Puts another gate in the place of `vector` while `body` runs.
    @inline(__always)
    static func withGate<Result>(_ vector: Int, _ entry: UInt64, _ body: () -> Result) -> Result {
        let gate = kernel_idt().assumingMemoryBound(to: Gate.self) + vector
        let usual = gate.pointee
        setGate(vector, entry, ist: 0)
        defer { gate.pointee = usual }
        return body()
    }

    static func setGate(_ vector: Int, _ entry: UInt64, ist: UInt64) {
        // Interrupt gate, present; #BP and #OF may be raised by int3 and into in ring 3.
        let type: UInt64 = vector == 3 || vector == 4 ? 0xEE : 0x8E
        let gate = kernel_idt().assumingMemoryBound(to: UInt64.self) + 2 * vector
        gate[0] = (entry & 0xFFFF) | kernelCode << 16 | ist << 32 | type << 40 | (entry >> 16 & 0xFFFF) << 48
        gate[1] = entry >> 32
    }
}
