import CZydis

/// PUSH, POP and LEAVE of 64 bits: explicit moves through the window, RSP changed last and without flags.
///
/// Until RSP changes, each can be begun again: what a push stores lies below the guest's stack pointer.
extension Translator {
    func emitStack(_ instruction: DecodedInstruction, _ emitter: inout CodeEmitter) -> Flow {
        // Ring 3's stack is where it says it is.
        if options.privilege == .user, instruction.ripRelativeAddress == nil, !needsSegmentBase(instruction) {
            emitter.raw(instruction.bytes)
            return .next
        }
        return switch instruction.mnemonic {
        case ZYDIS_MNEMONIC_PUSH: emitPush(instruction, &emitter)
        case ZYDIS_MNEMONIC_POP: emitPop(instruction, &emitter)
        default: emitLeave(instruction, &emitter)
        }
    }

    private func emitPush(_ instruction: DecodedInstruction, _ emitter: inout CodeEmitter) -> Flow {
        let operand = instruction.operands[0]
        switch operand.type {
        case ZYDIS_OPERAND_TYPE_REGISTER:
            guard let register = DecodedInstruction.register(operand.reg.value) else {
                return callout(instruction, &emitter)
            }
            emitter.storeGuest(register, base: .rsp, displacement: -8)
        case ZYDIS_OPERAND_TYPE_IMMEDIATE:
            emitter.storeBelowStack(value: UInt64(bitPattern: operand.imm.value.s))
        case ZYDIS_OPERAND_TYPE_MEMORY:
            guard canLoadOperand(of: instruction) else { return callout(instruction, &emitter) }
            emitter.spill(.rcx)
            emitter.mark(instruction.rip, [.spilled(.rcx)])
            emitLoad(of: instruction, into: .rcx, &emitter)
            emitter.storeGuest(.rcx, base: .rsp, displacement: -8)
            emitter.unspill(.rcx)
            emitter.mark(instruction.rip)
        default:
            return callout(instruction, &emitter)
        }
        emitter.address(.rsp, .rsp, -8)
        return .next
    }

    private func emitPop(_ instruction: DecodedInstruction, _ emitter: inout CodeEmitter) -> Flow {
        let operand = instruction.operands[0]
        switch operand.type {
        case ZYDIS_OPERAND_TYPE_REGISTER:
            guard let register = DecodedInstruction.register(operand.reg.value) else {
                return callout(instruction, &emitter)
            }
            if register == .rsp {
                emitter.loadGuest(.rsp, base: .rsp, displacement: 0)
            } else {
                emitter.loadGuest(register, base: .rsp, displacement: 0)
                emitter.mark(instruction.next, .stackReleasePending)
                emitter.address(.rsp, .rsp, 8)
            }
        default:
            // POP to memory computes its address behind the pop; no compiler emits it.
            return callout(instruction, &emitter)
        }
        return .next
    }

    private func emitLeave(_ instruction: DecodedInstruction, _ emitter: inout CodeEmitter) -> Flow {
        emitter.spill(.rsp)
        emitter.mark(instruction.rip, [.spilled(.rsp)])
        emitter.address(.rsp, .rbp, 8)
        emitter.loadGuest(.rbp, base: .rbp, displacement: 0)
        return .next
    }
}
