import CZydis

/// Indirect branches, calls and returns.
///
/// The target goes to RCX, its low 16 bits pick an entry of the indirect table, and the block found there verifies RCX (see
/// `emitVerification`). No flags are touched: MOVZX, LEA and JRCXZ only.
extension Translator {
    /// Entry of indirect branches: RCX = target, the guest's RCX and RDX in their spill slots. Returns its offset.
    ///
    ///     miss:  lea rcx, [rcx + rip]
    ///            jmp gs:[miss stub]
    ///     entry: lea rcx, [rcx - (rip - 1)]       or   lea rcx, [rcx - rip]
    ///            loop miss                             jrcxz hit ; jmp miss
    ///     hit:   mov rdx, gs:[…] ; mov rcx, gs:[…]
    ///
    /// LOOP falls through when the address is right, which saves a taken branch for each return: a doubly recursive function takes 1.4
    /// times its native time with it and 2.0 times with JRCXZ (Zen 3). Intel's CPUs decode LOOP slowly.
    func emitVerification(of rip: UInt64, _ emitter: inout CodeEmitter) -> Int {
        let spilled: Undo = [.spilled(.rcx), .spilled(.rdx)]
        let branching = spilled.union(.branchTaken)
        let miss = emitter.offset
        emitter.mark(rip, branching)
        emitAdd(rip, &emitter)
        emitter.mark(0, branching)
        emitter.jump(through: layout.missStub)
        let entry = emitter.offset
        emitter.mark(0, branching)
        emitAdd(options.verifiesByLoop ? 1 &- rip : 0 &- rip, &emitter)
        if options.verifiesByLoop {
            emitter.mark(rip &- 1, branching)
            emitter.byte(0xE2)
        } else {
            emitter.mark(rip, branching)
            emitter.raw(0xE3, 2)
            emitter.byte(0xEB)
        }
        emitter.byte(UInt8(bitPattern: Int8(miss - emitter.offset - 1)))
        emitter.mark(rip, spilled)
        emitter.unspill(.rdx)
        emitter.unspill(.rcx)
        return entry
    }

    /// `lea rcx, [rcx + value]`; RDX may be used for it.
    private func emitAdd(_ value: UInt64, _ emitter: inout CodeEmitter) {
        if let short = Int32(exactly: Int64(bitPattern: value)) {
            emitter.address(.rcx, .rcx, short)
        } else {
            emitter.load(.rdx, value: value)
            emitter.add(.rdx, to: .rcx)
        }
    }

    /// RCX = target; the guest's RCX in its spill slot.
    private func emitTableJump(_ emitter: inout CodeEmitter) {
        emitter.mark(0, [.spilled(.rcx), .branchTaken])
        emitter.spill(.rdx)
        emitter.mark(0, [.spilled(.rcx), .spilled(.rdx), .branchTaken])
        // movzx edx, cx ; jmp gs:[table + rdx * 8]
        emitter.raw(0x0F, 0xB7, 0xD1)
        emitter.raw(0x65, 0xFF, 0x24, 0xD5)
        emitter.word32(layout.indirectTable)
    }

    func emitReturn(_ instruction: DecodedInstruction, _ emitter: inout CodeEmitter) {
        // `ret imm16` releases further bytes of stack.
        let released =
            instruction.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE
            ? Int32(truncatingIfNeeded: instruction.operands[0].imm.value.u) : 0
        emitter.spill(.rcx)
        emitter.mark(instruction.rip, [.spilled(.rcx)])
        if options.privilege == .user && released == 0 {
            // pop rcx
            emitter.byte(0x59)
        } else {
            emitter.loadGuest(.rcx, base: .rsp, displacement: 0)
            emitter.address(.rsp, .rsp, 8 + released)
        }
        emitTableJump(&emitter)
    }

    /// Leaves `emitter` as it was and returns false when the form is not one 64-bit code uses.
    func emitIndirectBranch(
        _ instruction: DecodedInstruction, isCall: Bool, _ emitter: inout CodeEmitter
    ) -> Bool {
        let operand = instruction.operands[0]
        guard instruction.info.operand_width == 64 else { return false }
        switch operand.type {
        case ZYDIS_OPERAND_TYPE_REGISTER:
            guard let source = DecodedInstruction.register(operand.reg.value) else { return false }
            emitter.spill(.rcx)
            emitter.mark(instruction.rip, [.spilled(.rcx)])
            emitter.move(.rcx, source)
        case ZYDIS_OPERAND_TYPE_MEMORY:
            guard canLoadOperand(of: instruction) else { return false }
            emitter.spill(.rcx)
            emitter.mark(instruction.rip, [.spilled(.rcx)])
            // The operand itself is not changed by the spill, so RCX may be part of its address.
            emitLoad(of: instruction, into: .rcx, &emitter)
        default:
            return false
        }
        if isCall { emitPushReturnAddress(instruction.next, &emitter) }
        emitTableJump(&emitter)
        return true
    }

    /// Pushes `address`. Begins again from the instruction until RSP is changed, by the caller's mark.
    func emitPushReturnAddress(_ address: UInt64, _ emitter: inout CodeEmitter) {
        if options.privilege == .user, let short = Int32(exactly: Int64(bitPattern: address)) {
            emitter.byte(0x68)
            emitter.word32(short)
            return
        }
        emitter.storeBelowStack(value: address)
        emitter.address(.rsp, .rsp, -8)
    }
}
