import CZydis

/// One decoded guest instruction and its bytes.
struct DecodedInstruction {
    var info: ZydisDecodedInstruction
    /// All operands, implicit ones too. Valid until the decoder's next use.
    var operands: UnsafeBufferPointer<ZydisDecodedOperand>
    var bytes: UnsafeBufferPointer<UInt8>
    var rip: UInt64

    var length: Int { Int(info.length) }
    var next: UInt64 { rip &+ UInt64(info.length) }
    var mnemonic: ZydisMnemonic { info.mnemonic }

    /// The explicit or implicit operand that accesses memory through DS/SS/FS/GS (string destinations included).
    var memory: ZydisDecodedOperand? {
        operands.first {
            $0.type == ZYDIS_OPERAND_TYPE_MEMORY && $0.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM
        }
    }

    /// Whether any operand, implicit or not, touches `register` or a part of it.
    func uses(_ register: Register) -> Bool {
        operands.contains { operand in
            switch operand.type {
            case ZYDIS_OPERAND_TYPE_REGISTER:
                Self.register(operand.reg.value) == register
            case ZYDIS_OPERAND_TYPE_MEMORY:
                Self.register(operand.mem.base) == register || Self.register(operand.mem.index) == register
            default: false
            }
        }
    }

    /// A register that the instruction does not touch and that needs no REX bit as a base.
    func scratch(excluding: Register? = nil) -> Register? {
        let candidates: [Register] = [.rbx, .rsi, .rdi, .rbp, .rdx, .rcx, .rax]
        return candidates.first { $0 != excluding && !uses($0) }
    }

    static func register(_ value: ZydisRegister) -> Register? {
        let enclosing = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, value)
        guard ZydisRegisterGetClass(enclosing) == ZYDIS_REGCLASS_GPR64 else { return nil }
        return Register(rawValue: UInt8(bitPattern: ZydisRegisterGetId(enclosing)))
    }
}

/// Decodes 64-bit code with Zydis into storage that is used again for every instruction.
final class InstructionDecoder {
    private var decoder = ZydisDecoder()
    // Invariant: capacity is Zydis's maximum, allocated here and freed only in deinit.
    private let operands: UnsafeMutablePointer<ZydisDecodedOperand>
    private static let operandCapacity = Int(ZYDIS_MAX_OPERAND_COUNT)

    enum Failure { case truncated, invalid }
    enum Result {
        case instruction(DecodedInstruction)
        case failure(Failure)
    }

    init() {
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)
        operands = .allocate(capacity: Self.operandCapacity)
    }

    deinit { operands.deallocate() }

    /// Decodes the instruction at the start of `bytes`.
    func decode(_ bytes: UnsafeBufferPointer<UInt8>, rip: UInt64) -> Result {
        var info = ZydisDecodedInstruction()
        let status = ZydisDecoderDecodeFull(
            &decoder, bytes.baseAddress, ZyanUSize(bytes.count), &info, operands)
        guard status & 0x8000_0000 == 0 else {
            // ZYDIS_STATUS_NO_MORE_DATA: module 2 (Zydis), code 0.
            return .failure(status == 0x8020_0000 && bytes.count < 15 ? .truncated : .invalid)
        }
        return .instruction(
            DecodedInstruction(
                info: info, operands: UnsafeBufferPointer(start: operands, count: Int(info.operand_count)),
                bytes: UnsafeBufferPointer(rebasing: bytes[0..<Int(info.length)]), rip: rip))
    }
}
