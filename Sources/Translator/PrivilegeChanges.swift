import CZydis

/// SYSCALL, SYSRET and IRETQ between the rings, IN, and reading CR2: what memory they need is read here, where a fault finds precise state; the
/// rest is done by trampolines that work on vCPU state alone. A trampoline that meets anything out of the ordinary leaves it
/// to the VMM, which begins the instruction again.
extension Translator {
    /// Nil: not such an instruction, or a form of it that is left to the VMM.
    func emitPrivilegeChange(_ instruction: DecodedInstruction, _ emitter: inout CodeEmitter) -> Flow? {
        switch (instruction.mnemonic, options.privilege) {
        case (ZYDIS_MNEMONIC_SYSCALL, .user) where instruction.length == 2:
            emitter.store(value64: instruction.next, to: layout.instructionPointer)
            emitter.jump(through: layout.systemCallStub)
            return .endsBlock
        case (ZYDIS_MNEMONIC_SYSRET, .supervisor) where instruction.info.operand_width == 64:
            emitter.store(value64: instruction.rip, to: layout.instructionPointer)
            emitter.jump(through: layout.systemReturnStub)
            return .endsBlock
        case (ZYDIS_MNEMONIC_IRETQ, .supervisor):
            emitInterruptReturn(instruction, &emitter)
            return .endsBlock
        case (ZYDIS_MNEMONIC_IN, .supervisor) where instruction.bytes.count == 1 && instruction.bytes[0] == 0xEC:
            emitPortRead(instruction, &emitter)
            return .next
        case (ZYDIS_MNEMONIC_MOV, .supervisor)
        where instruction.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER
            && instruction.operands[1].reg.value == ZYDIS_REGISTER_CR2:
            guard let destination = DecodedInstruction.register(instruction.operands[0].reg.value) else { return nil }
            emitter.load(destination, from: layout.pageFaultAddress)
            return .next
        default:
            return nil
        }
    }

    /// A fault in here that the guest must see is not that of the load: the VMM carries the instruction out instead.
    private func emitInterruptReturn(_ instruction: DecodedInstruction, _ emitter: inout CodeEmitter) {
        let undo: Undo = [.spilled(.rcx), .emulate]
        emitter.store(value64: instruction.rip, to: layout.instructionPointer)
        emitter.spill(.rcx)
        emitter.mark(instruction.rip, undo)
        for index in 0..<5 {
            emitter.loadGuest(.rcx, base: .rsp, displacement: Int32(index) * 8)
            emitter.store(.rcx, to: layout.returnFrame + Int32(index) * 8)
        }
        // The descriptor of CS: at the base of the table plus the selector less its low bits, which are 3 for ring 3.
        emitter.load(.rcx, from: layout.returnFrame + 8)
        // movzx ecx, cx
        emitter.raw(0x0F, 0xB7, 0xC9)
        emitter.spill(.rdx)
        emitter.mark(instruction.rip, undo.union(.spilled(.rdx)))
        emitter.load(.rdx, from: layout.descriptorTableBase)
        emitter.add(.rdx, to: .rcx)
        emitter.loadGuest(.rcx, base: .rcx, displacement: -3)
        emitter.store(.rcx, to: layout.returnFrame + 40)
        emitter.unspill(.rdx)
        emitter.unspill(.rcx)
        emitter.mark(instruction.rip)
        emitter.jump(through: layout.interruptReturnStub)
    }

    /// IN AL, DX.
    private func emitPortRead(_ instruction: DecodedInstruction, _ emitter: inout CodeEmitter) {
        emitter.store(value64: instruction.rip, to: layout.instructionPointer)
        emitter.spill(.rcx)
        emitter.mark(instruction.rip, [.spilled(.rcx)])
        // lea rcx, [rip + 8], behind the jump
        emitter.raw(0x48, 0x8D, 0x0D)
        emitter.word32(8)
        emitter.jump(through: layout.portReadStub)
        emitter.mark(instruction.next, [.spilled(.rcx)])
        emitter.unspill(.rcx)
    }
}
