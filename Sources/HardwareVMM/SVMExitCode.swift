import Machine

/// AMD-V's exit codes (AMD APM vol. 2, appendix C), under the names that Linux gives them
/// (arch/x86/include/uapi/asm/svm.h), and where they stand in the common taxonomy.
enum SVMExitCode {
    struct Row {
        var number: UInt32
        var name: String
        var reason: ExitReason
    }

    /// The row of an exit code, nil for a number that the table lacks. Codes are 64 bits wide, but all that exist are told apart by
    /// the lower half, which is what the tracepoint has.
    static func row(_ number: UInt32) -> Row? { byNumber[number] }

    /// Taxonomy of an exit: by the code, and where one code stands for two instructions by EXITINFO1.
    static func reason(_ number: UInt32, information: UInt64) -> ExitReason {
        // VMEXIT_MSR: EXITINFO1 is 1 for WRMSR, 0 for RDMSR (APM vol. 2, 15.11).
        if number == 0x7C { return information & 1 != 0 ? .msrWrite : .msrRead }
        return row(number)?.reason ?? .other
    }

    private static let byNumber = Dictionary(uniqueKeysWithValues: table.map { ($0.number, $0) })

    static let table: [Row] = [registers, exceptions, interrupts, instructions, controlRegisterTraps, later, nested]
        .flatMap { $0 }

    /// VMEXIT_CR0_READ (0x00) to VMEXIT_DR15_WRITE (0x3F).
    private static let registers: [Row] = [
        ("read_cr", ExitReason.controlRegister), ("write_cr", .controlRegister),
        ("read_dr", .debugRegister), ("write_dr", .debugRegister),
    ].enumerated().flatMap { group, kind in
        (0..<16).map { Row(number: UInt32(group * 16 + $0), name: "\(kind.0)\($0)", reason: kind.1) }
    }

    /// VMEXIT_EXCP0 (0x40) to VMEXIT_EXCP31 (0x5F).
    private static let exceptions: [Row] = (0..<32).map { vector in
        let name = ExceptionVector.mnemonic(UInt8(vector)) ?? "vector \(vector)"
        return Row(number: 0x40 + UInt32(vector), name: "\(name) excp", reason: vector == 14 ? .shadowFill : .exception)
    }

    private static let interrupts: [Row] = [
        Row(number: 0x60, name: "interrupt", reason: .externalInterrupt),
        Row(number: 0x61, name: "nmi", reason: .externalInterrupt),
        Row(number: 0x62, name: "smi", reason: .externalInterrupt),
        Row(number: 0x63, name: "init", reason: .other),
        // The guest can take an interrupt now.
        Row(number: 0x64, name: "vintr", reason: .interruptDelivery),
    ]

    private static let instructions: [Row] = [
        Row(number: 0x65, name: "cr0_sel_write", reason: .controlRegister),
        Row(number: 0x66, name: "read_idtr", reason: .descriptorTable),
        Row(number: 0x67, name: "read_gdtr", reason: .descriptorTable),
        Row(number: 0x68, name: "read_ldtr", reason: .descriptorTable),
        Row(number: 0x69, name: "read_tr", reason: .descriptorTable),
        Row(number: 0x6A, name: "write_idtr", reason: .descriptorTable),
        Row(number: 0x6B, name: "write_gdtr", reason: .descriptorTable),
        Row(number: 0x6C, name: "write_ldtr", reason: .descriptorTable),
        Row(number: 0x6D, name: "write_tr", reason: .descriptorTable),
        Row(number: 0x6E, name: "rdtsc", reason: .emulatedInstruction),
        Row(number: 0x6F, name: "rdpmc", reason: .emulatedInstruction),
        Row(number: 0x70, name: "pushf", reason: .emulatedInstruction),
        Row(number: 0x71, name: "popf", reason: .emulatedInstruction),
        Row(number: 0x72, name: "cpuid", reason: .cpuid),
        Row(number: 0x73, name: "rsm", reason: .emulatedInstruction),
        Row(number: 0x74, name: "iret", reason: .interruptReturn),
        Row(number: 0x75, name: "swint", reason: .exception),
        Row(number: 0x76, name: "invd", reason: .emulatedInstruction),
        Row(number: 0x77, name: "pause", reason: .emulatedInstruction),
        Row(number: 0x78, name: "hlt", reason: .halt),
        Row(number: 0x79, name: "invlpg", reason: .tlbInvalidate),
        Row(number: 0x7A, name: "invlpga", reason: .tlbInvalidate),
        Row(number: 0x7B, name: "io", reason: .portIO),
        Row(number: 0x7C, name: "msr", reason: .msrRead),
        Row(number: 0x7D, name: "task_switch", reason: .emulatedInstruction),
        Row(number: 0x7E, name: "ferr_freeze", reason: .other),
        Row(number: 0x7F, name: "shutdown", reason: .shutdown),
        Row(number: 0x80, name: "vmrun", reason: .emulatedInstruction),
        Row(number: 0x81, name: "hypercall", reason: .hypercall),
        Row(number: 0x82, name: "vmload", reason: .emulatedInstruction),
        Row(number: 0x83, name: "vmsave", reason: .emulatedInstruction),
        Row(number: 0x84, name: "stgi", reason: .emulatedInstruction),
        Row(number: 0x85, name: "clgi", reason: .emulatedInstruction),
        Row(number: 0x86, name: "skinit", reason: .emulatedInstruction),
        Row(number: 0x87, name: "rdtscp", reason: .emulatedInstruction),
        Row(number: 0x88, name: "icebp", reason: .exception),
        Row(number: 0x89, name: "wbinvd", reason: .emulatedInstruction),
        Row(number: 0x8A, name: "monitor", reason: .emulatedInstruction),
        Row(number: 0x8B, name: "mwait", reason: .emulatedInstruction),
        Row(number: 0x8C, name: "mwait_armed", reason: .emulatedInstruction),
        Row(number: 0x8D, name: "xsetbv", reason: .controlRegister),
        Row(number: 0x8E, name: "rdpru", reason: .emulatedInstruction),
        Row(number: 0x8F, name: "write_efer_trap", reason: .msrWrite),
    ]

    /// VMEXIT_CR0_WRITE_TRAP (0x90) to VMEXIT_CR15_WRITE_TRAP (0x9F).
    private static let controlRegisterTraps: [Row] = (0..<16).map {
        Row(number: 0x90 + UInt32($0), name: "write_cr\($0)_trap", reason: .controlRegister)
    }

    private static let later: [Row] = [
        Row(number: 0xA0, name: "invlpgb", reason: .tlbInvalidate),
        Row(number: 0xA1, name: "invlpgb_illegal", reason: .tlbInvalidate),
        Row(number: 0xA2, name: "invpcid", reason: .tlbInvalidate),
        Row(number: 0xA3, name: "mcommit", reason: .emulatedInstruction),
        Row(number: 0xA4, name: "tlbsync", reason: .tlbInvalidate),
        Row(number: 0xA5, name: "buslock", reason: .other),
        Row(number: 0xA6, name: "idle-halt", reason: .halt),
    ]

    private static let nested: [Row] = [
        // Nested page fault: RAM that the nested tables lack, or a device's registers.
        Row(number: 0x400, name: "npf", reason: .shadowFill),
        Row(number: 0x401, name: "avic_incomplete_ipi", reason: .interruptDelivery),
        Row(number: 0x402, name: "avic_unaccelerated_access", reason: .mmio),
        Row(number: 0x403, name: "vmgexit", reason: .hypercall),
        // VMEXIT_BUSY and VMEXIT_INVALID are -2 and -1.
        Row(number: 0xFFFF_FFFE, name: "busy", reason: .other),
        Row(number: 0xFFFF_FFFF, name: "invalid_guest_state", reason: .other),
    ]
}

/// Exception vectors (Intel SDM vol. 3, table 7-1; AMD APM vol. 2, table 8-1).
enum ExceptionVector {
    /// `PF` for 14; nil for a vector that has no mnemonic.
    static func mnemonic(_ vector: UInt8) -> String? {
        switch vector {
        case 0: "DE"
        case 1: "DB"
        case 3: "BP"
        case 4: "OF"
        case 5: "BR"
        case 6: "UD"
        case 7: "NM"
        case 8: "DF"
        case 10: "TS"
        case 11: "NP"
        case 12: "SS"
        case 13: "GP"
        case 14: "PF"
        case 16: "MF"
        case 17: "AC"
        case 18: "MC"
        case 19: "XF"
        case 20: "VE"
        case 21: "CP"
        case 28: "HV"
        case 29: "VC"
        case 30: "SX"
        default: nil
        }
    }
}
