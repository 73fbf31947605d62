import CZydis

/// PUSH, POP, ENTER and LEAVE in the forms that translated code leaves to the VMM: 16 bits, to memory, with FS or GS.
extension SoftwareMachine {
    func emulatePush(_ info: ZydisDecodedInstruction, next: UInt64) throws(GuestException) {
        let operand = fetch.operands[0]
        let bytes = info.operand_width == 16 ? 2 : 8
        if operand.type == ZYDIS_OPERAND_TYPE_REGISTER,
            ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_SEGMENT
        {
            try pushValue(UInt64(cpu.selectors[operand.reg.value == ZYDIS_REGISTER_FS ? 4 : 5]), bytes: bytes)
        } else {
            try pushValue(try read(operand, info, next: next), bytes: bytes)
        }
    }

    func emulatePop(_ info: ZydisDecodedInstruction, next: UInt64) throws(GuestException) {
        let operand = fetch.operands[0]
        let bytes = info.operand_width == 16 ? 2 : 8
        let value = try stackSlot(0, bytes: bytes)
        let stack = cpu[GPR.rsp]
        if operand.type == ZYDIS_OPERAND_TYPE_REGISTER {
            if ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_SEGMENT {
                try loadSegment(
                    operand.reg.value == ZYDIS_REGISTER_FS ? 4 : 5, UInt16(truncatingIfNeeded: value))
                cpu[GPR.rsp] = stack &+ UInt64(bytes)
            } else {
                // POP RSP: the value popped wins.
                cpu[GPR.rsp] = stack &+ UInt64(bytes)
                try write(value, operand, info, next: next)
            }
            return
        }
        // An operand relative to RSP counts from the stack pointer behind the pop (Intel SDM vol. 2, POP).
        cpu[GPR.rsp] = stack &+ UInt64(bytes)
        do throws(GuestException) {
            try write(value, operand, info, next: next)
        } catch {
            cpu[GPR.rsp] = stack
            throw error
        }
    }

    /// ENTER (Intel SDM vol. 2): the frame pointer, copies of the enclosing frames' pointers, room for variables.
    func emulateEnter(_ info: ZydisDecodedInstruction) throws(GuestException) {
        let bytes = UInt64(info.operand_width == 16 ? 2 : 8)
        let room = fetch.operands[0].imm.value.u & 0xFFFF
        let level = fetch.operands[1].imm.value.u & 31
        var stack = cpu[GPR.rsp] &- bytes
        try write(cpu[GPR.rbp], at: stack, bytes: Int(bytes), isStack: true)
        let frame = stack
        if level > 0 {
            var outer = cpu[GPR.rbp]
            for _ in 1..<max(level, 1) {
                outer &-= bytes
                stack &-= bytes
                let link = try read(outer, bytes: Int(bytes), isStack: true)
                try write(link, at: stack, bytes: Int(bytes), isStack: true)
            }
            stack &-= bytes
            try write(frame, at: stack, bytes: Int(bytes), isStack: true)
        }
        stack &-= room
        // The new top must be writable, though nothing is written there.
        try probe(stack)
        write(frame, to: GPR.rbp, bits: info.operand_width == 16 ? 16 : 64)
        cpu[GPR.rsp] = stack
    }

    private func probe(_ stack: UInt64) throws(GuestException) {
        guard AddressMap.isCanonical(stack) else { throw .stack }
        _ = try linear.translate(stack, Access(write: true, user: cpu.privilege == 3), cpu.pagingMode)
    }

    /// LEAVE of 16 bits.
    func emulateLeave() throws(GuestException) {
        let value = try read(cpu[GPR.rbp], bytes: 2, isStack: true)
        cpu[GPR.rsp] = cpu[GPR.rbp] &+ 2
        write(value, to: GPR.rbp, bits: 16)
    }

    // MARK: Flags

    func emulatePushFlags(_ info: ZydisDecodedInstruction) throws(GuestException) {
        try pushValue(cpu.flags & ~(Flags.resume | Flags.virtual8086), bytes: info.operand_width == 16 ? 2 : 8)
    }

    func emulatePopFlags(_ info: ZydisDecodedInstruction) throws(GuestException) {
        let bytes = info.operand_width == 16 ? 2 : 8
        setFlags(try stackSlot(0, bytes: bytes), bits: UInt16(info.operand_width))
        cpu[GPR.rsp] &+= UInt64(bytes)
    }

    /// CLI and STI, where they are allowed.
    func emulateInterruptFlag(_ info: ZydisDecodedInstruction) {
        if info.mnemonic == ZYDIS_MNEMONIC_CLI {
            cpu.interruptsEnabled = false
        } else if !cpu.interruptsEnabled {
            cpu.interruptsEnabled = true
            cpu.interruptShadow = true
        }
    }

    /// Flags from the stack, as POPF and IRET take them: the privilege decides on IOPL and IF (Intel SDM vol. 2, POPF).
    func setFlags(_ value: UInt64, bits: UInt16) {
        var changed =
            Flags.arithmetic | Flags.trap | Flags.direction | Flags.nestedTask | Flags.alignmentCheck
            | Flags.identification
        if cpu.privilege == 0 { changed |= Flags.ioPrivilege }
        if UInt64(cpu.privilege) <= cpu.flags >> 12 & 3 { changed |= Flags.interrupt }
        if bits == 16 { changed &= 0xFFFF }
        cpu.flags = cpu.flags & ~changed | value & changed
    }
}
