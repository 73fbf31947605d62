import CZydis

/// Indirect branches, calls and returns.
///
/// The target goes to RCX and to the branch-target slot, the low 16 bits of it pick an entry of the indirect table, and
/// the block found there verifies RCX (see `emitVerification`). No flags are touched: MOVZX, LEA and JRCXZ only.
extension Translator {
    /// Entry of indirect branches: RCX = target, the guest's RCX and RDX in their spill slots.
    func emitVerification(of rip: UInt64, _ emitter: inout CodeEmitter) {
        let undo: Undo = [.spilled(.rcx), .spilled(.rdx), .branchTaken]
        emitter.mark(rip, undo)
        let negated = 0 &- rip
        if let short = Int32(exactly: Int64(bitPattern: negated)) {
            emitter.address(.rcx, .rcx, short)
        } else {
            emitter.load(.rdx, value: negated)
            emitter.add(.rdx, to: .rcx)
        }
        // jrcxz over the jump to the miss stub (8 bytes)
        emitter.raw(0xE3, 8)
        emitter.jump(through: layout.missStub)
        emitter.unspill(.rdx)
        emitter.unspill(.rcx)
    }

    /// RCX = target, also in the branch-target slot; the guest's RCX in its spill slot.
    private func emitTableJump(_ rip: UInt64, _ emitter: inout CodeEmitter) {
        emitter.mark(rip, [.spilled(.rcx), .branchTaken])
        emitter.spill(.rdx)
        emitter.mark(rip, [.spilled(.rcx), .spilled(.rdx), .branchTaken])
        // movzx edx, cx ; jmp gs:[table + rdx * 8]
        emitter.raw(0x0F, 0xB7, 0xD1)
        emitter.raw(0x65, 0xFF, 0x24, 0xD5)
        emitter.word32(layout.indirectTable)
    }

    func emitReturn(_ instruction: DecodedInstruction, _ emitter: inout CodeEmitter) {
        let rip = instruction.rip
        // `ret imm16` releases further bytes of stack.
        let released =
            instruction.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE
            ? Int32(truncatingIfNeeded: instruction.operands[0].imm.value.u) : 0
        emitter.spill(.rcx)
        emitter.mark(rip, [.spilled(.rcx)])
        emitter.loadGuest(.rcx, base: .rsp, displacement: 0)
        emitter.store(.rcx, to: layout.branchTarget)
        emitter.address(.rsp, .rsp, 8 + released)
        emitTableJump(rip, &emitter)
    }

    /// Leaves `emitter` as it was and returns false when the form is not one 64-bit code uses.
    func emitIndirectBranch(
        _ instruction: DecodedInstruction, isCall: Bool, _ emitter: inout CodeEmitter
    ) -> Bool {
        let rip = instruction.rip
        let operand = instruction.operands[0]
        guard instruction.info.operand_width == 64 else { return false }
        switch operand.type {
        case ZYDIS_OPERAND_TYPE_REGISTER:
            guard let source = DecodedInstruction.register(operand.reg.value) else { return false }
            emitter.spill(.rcx)
            emitter.mark(rip, [.spilled(.rcx)])
            emitter.move(.rcx, source)
        case ZYDIS_OPERAND_TYPE_MEMORY:
            guard !instruction.hasGuestSegment else { return false }
            emitter.spill(.rcx)
            emitter.mark(rip, [.spilled(.rcx)])
            // The operand itself is not changed by the spill, so RCX may be part of its address.
            guard emitLoad(of: instruction, into: .rcx, &emitter) else { return false }
        default:
            return false
        }
        emitter.store(.rcx, to: layout.branchTarget)
        if isCall { emitPushReturnAddress(instruction.next, &emitter) }
        emitTableJump(rip, &emitter)
        return true
    }

    /// Pushes `address`. Begins again from the instruction until RSP is changed, by the caller's mark.
    func emitPushReturnAddress(_ address: UInt64, _ emitter: inout CodeEmitter) {
        emitter.storeBelowStack(value: address)
        emitter.address(.rsp, .rsp, -8)
    }
}
