import Machine

/// Kinds of instructions that KVM emulates in guest ring 0: those that a hypervisor has to carry out on hardware too, by what
/// they do, and all others as one.
enum EmulatedInstruction: UInt8, Hashable, CaseIterable {
    case other
    case portInput
    case portOutput
    case halt
    case interruptReturn
    /// SYSRET and SYSEXIT.
    case fastReturn
    case cpuid
    case readMSR
    case writeMSR
    case readControlRegister
    case writeControlRegister
    case debugRegister
    case descriptorTable
    case invalidatePage
    case hypercall

    /// From its bytes, which may be cut short.
    init(_ code: UnsafeRawBufferPointer) {
        var rest = code[...]
        // Legacy prefixes and REX (Intel SDM vol. 2, 2.1.1 and 2.2.1).
        while let byte = rest.first, Self.isPrefix(byte) { rest = rest.dropFirst() }
        guard let opcode = rest.first else {
            self = .other
            return
        }
        if opcode != 0x0F {
            self = Self.oneByte(opcode)
        } else {
            let second = rest.dropFirst().first ?? 0
            self = Self.twoBytes(second, modRM: rest.dropFirst(2).first ?? 0)
        }
    }

    private static func isPrefix(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x26, 0x2E, 0x36, 0x3E, 0x40...0x4F, 0x64...0x67, 0xF0, 0xF2, 0xF3: true
        default: false
        }
    }

    /// Opcode map 1 (SDM vol. 2, table A-2).
    private static func oneByte(_ opcode: UInt8) -> EmulatedInstruction {
        switch opcode {
        case 0xE4, 0xE5, 0xEC, 0xED, 0x6C, 0x6D: .portInput
        case 0xE6, 0xE7, 0xEE, 0xEF, 0x6E, 0x6F: .portOutput
        case 0xF4: .halt
        case 0xCF: .interruptReturn
        default: .other
        }
    }

    /// Opcode map 2 (SDM vol. 2, table A-3), and its groups 6 and 7 by the ModR/M byte (table A-6).
    private static func twoBytes(_ opcode: UInt8, modRM: UInt8) -> EmulatedInstruction {
        let operation = modRM >> 3 & 7
        let isRegister = modRM >= 0xC0
        return switch (opcode, operation, isRegister) {
        case (0x00, 0...3, _): .descriptorTable
        case (0x01, _, true) where modRM == 0xC1 || modRM == 0xD9: .hypercall
        case (0x01, 0...3, false): .descriptorTable
        case (0x01, 4, _): .readControlRegister
        case (0x01, 6, _): .writeControlRegister
        case (0x01, 7, false): .invalidatePage
        case (0x06, _, _): .writeControlRegister
        case (0x07, _, _), (0x35, _, _): .fastReturn
        case (0x20, _, _): .readControlRegister
        case (0x22, _, _): .writeControlRegister
        case (0x21, _, _), (0x23, _, _): .debugRegister
        case (0x30, _, _): .writeMSR
        case (0x32, _, _): .readMSR
        case (0xA2, _, _): .cpuid
        default: .other
        }
    }

    /// Name in ledgers.
    var name: String {
        switch self {
        case .other: "emulate"
        case .portInput: "emulate IN"
        case .portOutput: "emulate OUT"
        case .halt: "emulate HLT"
        case .interruptReturn: "emulate IRET"
        case .fastReturn: "emulate SYSRET"
        case .cpuid: "emulate CPUID"
        case .readMSR: "emulate RDMSR"
        case .writeMSR: "emulate WRMSR"
        case .readControlRegister: "emulate read of CR"
        case .writeControlRegister: "emulate write of CR"
        case .debugRegister: "emulate access to DR"
        case .descriptorTable: "emulate access to descriptor tables"
        case .invalidatePage: "emulate INVLPG"
        case .hypercall: "emulate VMCALL"
        }
    }

    /// Its place in the common taxonomy.
    var reason: ExitReason {
        switch self {
        case .other: .emulatedInstruction
        case .portInput, .portOutput: .portIO
        case .halt: .halt
        case .interruptReturn, .fastReturn: .interruptReturn
        case .cpuid: .cpuid
        case .readMSR: .msrRead
        case .writeMSR: .msrWrite
        case .readControlRegister, .writeControlRegister: .controlRegister
        case .debugRegister: .debugRegister
        case .descriptorTable: .descriptorTable
        case .invalidatePage: .tlbInvalidate
        case .hypercall: .hypercall
        }
    }
}
