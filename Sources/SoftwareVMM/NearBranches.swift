import CZydis
import Machine

/// Near branches that are not translated: through memory relative to FS or GS or with 32-bit addresses, indirect ones while the
/// guest single-steps, and those with an operand-size prefix and no REX.W.
///
/// Intel's CPUs ignore that prefix; AMD's branch to 16-bit addresses, push and pop 2 bytes, and have 16-bit displacements
/// (AMD APM vol. 3, "Near transfers"; Intel SDM vol. 2, JMP).
extension SoftwareMachine {
    func emulateNearBranch(_ given: ZydisDecodedInstruction, _ bytes: UnsafeBufferPointer<UInt8>) throws(GuestException)
    {
        let isNarrow =
            VirtualCPUID.hasNarrowBranches && given.raw.rex.W == 0
            && bytes.prefix(Int(given.raw.prefix_count)).contains(0x66)
        guard let info = isNarrow ? fetch.decode(bytes, narrowBranches: true) : given else { throw .undefined }
        let next = cpu.rip &+ UInt64(info.length)
        let size = isNarrow ? 2 : 8
        let operand = fetch.operands[0]
        if info.mnemonic == ZYDIS_MNEMONIC_RET {
            let released = operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? operand.imm.value.u & 0xFFFF : 0
            let target = try stackSlot(0, bytes: size)
            guard AddressMap.isCanonical(target) else { throw .protection }
            cpu[GPR.rsp] &+= UInt64(size) &+ released
            cpu.rip = target
            return
        }
        let isCall = info.mnemonic == ZYDIS_MNEMONIC_CALL
        let isConditional = info.meta.category == ZYDIS_CATEGORY_COND_BR
        if isConditional, try !isTaken(info) {
            cpu.rip = next
            return
        }
        var target: UInt64
        switch operand.type {
        case ZYDIS_OPERAND_TYPE_IMMEDIATE:
            target = next &+ UInt64(bitPattern: operand.imm.value.s)
        case ZYDIS_OPERAND_TYPE_MEMORY:
            target = try read(
                effectiveAddress(operand, info, next: next), bytes: size,
                isStack: operand.mem.segment == ZYDIS_REGISTER_SS)
        default: target = register(operand.reg.value)
        }
        if isNarrow { target &= 0xFFFF }
        guard AddressMap.isCanonical(target) else { throw .protection }
        if isCall { try pushValue(next, bytes: size) }
        cpu.rip = target
    }

    /// Whether a conditional branch is taken; LOOP counts.
    private func isTaken(_ info: ZydisDecodedInstruction) throws(GuestException) -> Bool {
        let flags = cpu.flags
        let mask: UInt64 = info.address_width == 32 ? 0xFFFF_FFFF : ~0
        switch (info.opcode_map, info.opcode) {
        case (ZYDIS_OPCODE_MAP_DEFAULT, 0xE3): return cpu[GPR.rcx] & mask == 0
        case (ZYDIS_OPCODE_MAP_DEFAULT, 0xE0...0xE2):
            cpu[GPR.rcx] = (cpu[GPR.rcx] &- 1) & mask
            let isZero = flags & Flags.zero != 0
            let agrees = info.opcode == 0xE2 || isZero == (info.opcode == 0xE1)
            return cpu[GPR.rcx] != 0 && agrees
        default:
            // Conditions in encoding order, each with its opposite (Intel SDM vol. 1, appendix B).
            let carry = flags & 1 != 0
            let parity = flags & 1 << 2 != 0
            let zero = flags & Flags.zero != 0
            let sign = flags & 1 << 7 != 0
            let overflow = flags & 1 << 11 != 0
            let conditions = [
                overflow, carry, zero, carry || zero, sign, parity, sign != overflow, zero || sign != overflow,
            ]
            return conditions[Int(info.opcode >> 1 & 7)] != (info.opcode & 1 != 0)
        }
    }
}
