import CZydis

/// Classes of instructions that the guest has asked to fault, by CR0.EM, CR0.MP, CR0.TS and CR4.TSD (Intel SDM vol. 3, 2.5): code
/// that is translated while they are withheld leaves them to the VMM.
public struct WithheldInstructions: OptionSet, Sendable, Hashable {
    public var rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// x87, FXSAVE and FXRSTOR: EM or TS.
    public static let x87 = WithheldInstructions(rawValue: 1 << 0)
    /// WAIT: TS with MP.
    public static let wait = WithheldInstructions(rawValue: 1 << 1)
    /// MMX and SSE in their legacy encodings: EM or TS.
    public static let sse = WithheldInstructions(rawValue: 1 << 2)
    /// AVX in all encodings and the XSAVE family: TS.
    public static let avx = WithheldInstructions(rawValue: 1 << 3)
    /// RDTSC and RDTSCP in ring 3: TSD.
    public static let timestamp = WithheldInstructions(rawValue: 1 << 4)

    /// The class of an instruction; empty for most. `operands`: all of them, implicit ones too.
    public init(of info: ZydisDecodedInstruction, _ operands: UnsafeBufferPointer<ZydisDecodedOperand>) {
        switch info.mnemonic {
        case ZYDIS_MNEMONIC_RDTSC, ZYDIS_MNEMONIC_RDTSCP: self = .timestamp
        case ZYDIS_MNEMONIC_FWAIT: self = .wait
        case ZYDIS_MNEMONIC_FXSAVE, ZYDIS_MNEMONIC_FXSAVE64, ZYDIS_MNEMONIC_FXRSTOR, ZYDIS_MNEMONIC_FXRSTOR64:
            self = .x87
        case ZYDIS_MNEMONIC_XSAVE, ZYDIS_MNEMONIC_XSAVE64, ZYDIS_MNEMONIC_XSAVEC, ZYDIS_MNEMONIC_XSAVEC64,
            ZYDIS_MNEMONIC_XSAVEOPT, ZYDIS_MNEMONIC_XSAVEOPT64, ZYDIS_MNEMONIC_XSAVES, ZYDIS_MNEMONIC_XSAVES64,
            ZYDIS_MNEMONIC_XRSTOR, ZYDIS_MNEMONIC_XRSTOR64, ZYDIS_MNEMONIC_XRSTORS, ZYDIS_MNEMONIC_XRSTORS64,
            ZYDIS_MNEMONIC_VLDMXCSR, ZYDIS_MNEMONIC_VSTMXCSR, ZYDIS_MNEMONIC_VZEROALL, ZYDIS_MNEMONIC_VZEROUPPER:
            self = .avx
        case ZYDIS_MNEMONIC_EMMS, ZYDIS_MNEMONIC_FEMMS, ZYDIS_MNEMONIC_LDMXCSR, ZYDIS_MNEMONIC_STMXCSR: self = .sse
        default:
            if info.meta.isa_ext == ZYDIS_ISA_EXT_X87 {
                self = .x87
            } else if operands.contains(where: Self.isVector) {
                self = info.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY ? .sse : .avx
            } else {
                self = []
            }
        }
    }

    private static func isVector(_ operand: ZydisDecodedOperand) -> Bool {
        guard operand.type == ZYDIS_OPERAND_TYPE_REGISTER else { return false }
        switch ZydisRegisterGetClass(operand.reg.value) {
        case ZYDIS_REGCLASS_MMX, ZYDIS_REGCLASS_XMM, ZYDIS_REGCLASS_YMM, ZYDIS_REGCLASS_ZMM, ZYDIS_REGCLASS_MASK:
            return true
        default: return false
        }
    }
}
