import CZydis
import Machine

/// A load or store of general-purpose registers, decoded once so that it can be carried out often: MOV, MOVZX, MOVSX, MOVSXD.
struct MemoryAccess {
    enum Source {
        case register(Int)
        case immediate(UInt64)
    }

    enum Operation {
        case store(Source)
        /// To a register, of which so many bits are written.
        case load(Int, bits: UInt16, isSigned: Bool)
    }

    var operation: Operation
    /// Bytes of memory: 1, 2, 4 or 8.
    var bytes: Int
    private var base: Int?
    private var index: Int?
    private var scale: UInt64
    /// Displacement, or for RIP-relative operands the whole address.
    private var displacement: UInt64
    private var segment: ZydisRegister
    private var addressMask: UInt64
    var length: UInt64

    /// Nil: an instruction that is not of this kind. `operands` are the decoder's.
    init?(_ info: ZydisDecodedInstruction, _ operands: UnsafePointer<ZydisDecodedOperand>, rip: UInt64) {
        let destination = operands[0]
        let source = operands[1]
        switch info.mnemonic {
        case ZYDIS_MNEMONIC_MOV, ZYDIS_MNEMONIC_MOVZX, ZYDIS_MNEMONIC_MOVSX, ZYDIS_MNEMONIC_MOVSXD: break
        default: return nil
        }
        func register(_ operand: ZydisDecodedOperand) -> Int? {
            switch operand.reg.value {
            case ZYDIS_REGISTER_AH, ZYDIS_REGISTER_CH, ZYDIS_REGISTER_DH, ZYDIS_REGISTER_BH: nil
            default: SoftwareMachine.generalRegister(operand.reg.value)
            }
        }
        let memory: ZydisDecodedOperand
        if destination.type == ZYDIS_OPERAND_TYPE_MEMORY {
            memory = destination
            switch source.type {
            case ZYDIS_OPERAND_TYPE_IMMEDIATE: operation = .store(.immediate(source.imm.value.u))
            case ZYDIS_OPERAND_TYPE_REGISTER:
                guard let register = register(source) else { return nil }
                operation = .store(.register(register))
            default: return nil
            }
        } else {
            guard source.type == ZYDIS_OPERAND_TYPE_MEMORY, destination.type == ZYDIS_OPERAND_TYPE_REGISTER,
                let register = register(destination)
            else { return nil }
            memory = source
            let isSigned = info.mnemonic == ZYDIS_MNEMONIC_MOVSX || info.mnemonic == ZYDIS_MNEMONIC_MOVSXD
            operation = .load(register, bits: destination.size, isSigned: isSigned)
        }
        bytes = Int(memory.size) / 8
        guard bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8, memory.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM
        else { return nil }
        displacement = UInt64(bitPattern: memory.mem.disp.value)
        if memory.mem.base == ZYDIS_REGISTER_RIP || memory.mem.base == ZYDIS_REGISTER_EIP {
            displacement &+= rip &+ UInt64(info.length)
        } else {
            base = SoftwareMachine.generalRegister(memory.mem.base)
        }
        index = SoftwareMachine.generalRegister(memory.mem.index)
        scale = UInt64(memory.mem.scale)
        segment = memory.mem.segment
        addressMask = info.address_width == 32 ? 0xFFFF_FFFF : ~0
        length = UInt64(info.length)
    }

    var isStore: Bool {
        if case .store = operation { true } else { false }
    }

    /// Linear address that it accesses now.
    func address(_ machine: SoftwareMachine) -> UInt64 {
        var address = displacement
        if let base { address &+= machine.cpu[base] }
        if let index { address &+= machine.cpu[index] &* scale }
        return (address & addressMask) &+ machine.segmentBase(segment)
    }
}
