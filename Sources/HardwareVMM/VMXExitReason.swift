import Machine

/// VT-x's basic exit reasons (Intel SDM vol. 3, appendix C), under the names that Linux gives them
/// (arch/x86/include/uapi/asm/vmx.h), and where they stand in the common taxonomy.
enum VMXExitReason {
    struct Row {
        var number: UInt16
        var name: String
        var reason: ExitReason
    }

    /// The row of a basic exit reason (bits 15:0 of the exit reason field), nil for a number that the table lacks.
    static func row(_ number: UInt16) -> Row? { byNumber[number] }

    /// Taxonomy of an exit: by the basic reason, and for exceptions by the vector in the interruption information.
    static func reason(_ number: UInt16, interruption: UInt32) -> ExitReason {
        guard number == 0 else { return row(number)?.reason ?? .other }
        // Bits 10:8 are the type (2: NMI), bits 7:0 the vector (SDM vol. 3, table 25-18).
        if interruption >> 8 & 7 == 2 { return .externalInterrupt }
        return interruption & 0xFF == 14 ? .shadowFill : .exception
    }

    private static let byNumber = Dictionary(uniqueKeysWithValues: table.map { ($0.number, $0) })

    static let table: [Row] = [
        Row(number: 0, name: "EXCEPTION_NMI", reason: .exception),
        Row(number: 1, name: "EXTERNAL_INTERRUPT", reason: .externalInterrupt),
        Row(number: 2, name: "TRIPLE_FAULT", reason: .shutdown),
        Row(number: 3, name: "INIT_SIGNAL", reason: .other),
        Row(number: 4, name: "SIPI_SIGNAL", reason: .other),
        Row(number: 5, name: "IO_SMI", reason: .externalInterrupt),
        Row(number: 6, name: "OTHER_SMI", reason: .externalInterrupt),
        Row(number: 7, name: "INTERRUPT_WINDOW", reason: .interruptDelivery),
        Row(number: 8, name: "NMI_WINDOW", reason: .interruptDelivery),
        Row(number: 9, name: "TASK_SWITCH", reason: .emulatedInstruction),
        Row(number: 10, name: "CPUID", reason: .cpuid),
        Row(number: 11, name: "GETSEC", reason: .emulatedInstruction),
        Row(number: 12, name: "HLT", reason: .halt),
        Row(number: 13, name: "INVD", reason: .emulatedInstruction),
        Row(number: 14, name: "INVLPG", reason: .tlbInvalidate),
        Row(number: 15, name: "RDPMC", reason: .emulatedInstruction),
        Row(number: 16, name: "RDTSC", reason: .emulatedInstruction),
        Row(number: 17, name: "RSM", reason: .emulatedInstruction),
        Row(number: 18, name: "VMCALL", reason: .hypercall),
        Row(number: 19, name: "VMCLEAR", reason: .emulatedInstruction),
        Row(number: 20, name: "VMLAUNCH", reason: .emulatedInstruction),
        Row(number: 21, name: "VMPTRLD", reason: .emulatedInstruction),
        Row(number: 22, name: "VMPTRST", reason: .emulatedInstruction),
        Row(number: 23, name: "VMREAD", reason: .emulatedInstruction),
        Row(number: 24, name: "VMRESUME", reason: .emulatedInstruction),
        Row(number: 25, name: "VMWRITE", reason: .emulatedInstruction),
        Row(number: 26, name: "VMOFF", reason: .emulatedInstruction),
        Row(number: 27, name: "VMON", reason: .emulatedInstruction),
        Row(number: 28, name: "CR_ACCESS", reason: .controlRegister),
        Row(number: 29, name: "DR_ACCESS", reason: .debugRegister),
        Row(number: 30, name: "IO_INSTRUCTION", reason: .portIO),
        Row(number: 31, name: "MSR_READ", reason: .msrRead),
        Row(number: 32, name: "MSR_WRITE", reason: .msrWrite),
        Row(number: 33, name: "INVALID_STATE", reason: .other),
        Row(number: 34, name: "MSR_LOAD_FAIL", reason: .other),
        Row(number: 36, name: "MWAIT_INSTRUCTION", reason: .emulatedInstruction),
        Row(number: 37, name: "MONITOR_TRAP_FLAG", reason: .other),
        Row(number: 39, name: "MONITOR_INSTRUCTION", reason: .emulatedInstruction),
        Row(number: 40, name: "PAUSE_INSTRUCTION", reason: .emulatedInstruction),
        Row(number: 41, name: "MCE_DURING_VMENTRY", reason: .other),
        Row(number: 43, name: "TPR_BELOW_THRESHOLD", reason: .interruptDelivery),
        // The APIC's page of registers, intercepted before the access and after a virtualized write.
        Row(number: 44, name: "APIC_ACCESS", reason: .mmio),
        Row(number: 45, name: "EOI_INDUCED", reason: .interruptDelivery),
        Row(number: 46, name: "GDTR_IDTR", reason: .descriptorTable),
        Row(number: 47, name: "LDTR_TR", reason: .descriptorTable),
        Row(number: 48, name: "EPT_VIOLATION", reason: .shadowFill),
        // KVM makes the EPT entries of device registers misconfigured, which is quicker than a violation.
        Row(number: 49, name: "EPT_MISCONFIG", reason: .mmio),
        Row(number: 50, name: "INVEPT", reason: .emulatedInstruction),
        Row(number: 51, name: "RDTSCP", reason: .emulatedInstruction),
        Row(number: 52, name: "PREEMPTION_TIMER", reason: .externalInterrupt),
        Row(number: 53, name: "INVVPID", reason: .emulatedInstruction),
        Row(number: 54, name: "WBINVD", reason: .emulatedInstruction),
        Row(number: 55, name: "XSETBV", reason: .controlRegister),
        Row(number: 56, name: "APIC_WRITE", reason: .mmio),
        Row(number: 57, name: "RDRAND", reason: .emulatedInstruction),
        Row(number: 58, name: "INVPCID", reason: .tlbInvalidate),
        Row(number: 59, name: "VMFUNC", reason: .emulatedInstruction),
        Row(number: 60, name: "ENCLS", reason: .emulatedInstruction),
        Row(number: 61, name: "RDSEED", reason: .emulatedInstruction),
        Row(number: 62, name: "PML_FULL", reason: .tracedWrite),
        Row(number: 63, name: "XSAVES", reason: .emulatedInstruction),
        Row(number: 64, name: "XRSTORS", reason: .emulatedInstruction),
        Row(number: 65, name: "PCONFIG", reason: .emulatedInstruction),
        Row(number: 66, name: "SPP_EVENT", reason: .tracedWrite),
        Row(number: 67, name: "UMWAIT", reason: .emulatedInstruction),
        Row(number: 68, name: "TPAUSE", reason: .emulatedInstruction),
        Row(number: 69, name: "LOADIWKEY", reason: .emulatedInstruction),
        Row(number: 70, name: "ENCLV", reason: .emulatedInstruction),
        Row(number: 72, name: "ENQCMD_PASID", reason: .emulatedInstruction),
        Row(number: 73, name: "ENQCMDS_PASID", reason: .emulatedInstruction),
        Row(number: 74, name: "BUS_LOCK", reason: .other),
        Row(number: 75, name: "NOTIFY", reason: .other),
        Row(number: 76, name: "SEAMCALL", reason: .hypercall),
        Row(number: 77, name: "TDCALL", reason: .hypercall),
        Row(number: 78, name: "RDMSRLIST", reason: .msrRead),
        Row(number: 79, name: "WRMSRLIST", reason: .msrWrite),
        Row(number: 80, name: "URDMSR", reason: .msrRead),
        Row(number: 81, name: "UWRMSR", reason: .msrWrite),
        Row(number: 84, name: "MSR_READ_IMM", reason: .msrRead),
        Row(number: 85, name: "MSR_WRITE_IMM", reason: .msrWrite),
    ]
}
