import CZydis
import Machine

/// Far CALL, JMP and RET, and IRET with 16- and 32-bit operands, between 64-bit code segments. Those of ring 0 to 16- and 32-bit
/// code are the interpreter's.
extension SoftwareMachine {
    /// CALL and JMP through a far pointer in memory (Intel SDM vol. 2, CALL, "far calls in 64-bit mode").
    func emulateFarBranch(_ info: ZydisDecodedInstruction, isCall: Bool, next: UInt64) throws(GuestException) {
        let width = farOperandWidth(info)
        let bytes = Int(width) / 8
        let address = effectiveAddress(fetch.operands[0], info, next: next)
        let offset = try read(address, bytes: bytes)
        let selector = UInt16(truncatingIfNeeded: try read(address &+ UInt64(bytes), bytes: 2))
        guard selector & ~3 != 0 else { throw .protection }
        let fault = Self.selectorFault(GuestException.generalProtection, selector)
        guard let found = try descriptor(selector) else { throw fault }
        guard found.isCode else {
            if !found.isCodeOrData, found.type == 12 {
                pendingStop = .unsupported("call gates")
                return
            }
            throw fault
        }
        let isAllowed =
            found.isConforming
            ? found.privilege <= cpu.privilege
            : UInt8(selector & 3) <= cpu.privilege && found.privilege == cpu.privilege
        guard isAllowed else { throw fault }
        guard found.isPresent else { throw Self.selectorFault(GuestException.segmentNotPresent, selector) }
        guard found.isLong else {
            if cpu.privilege == 0 {
                try interpretInstruction()
            } else {
                pendingStop = .unsupported("ring-3 compatibility-mode (32-bit) code")
            }
            return
        }
        guard AddressMap.isCanonical(offset) else { throw .protection }
        if isCall {
            let stack = cpu[GPR.rsp]
            try pushValue(UInt64(cpu.codeSelector), bytes: bytes)
            do throws(GuestException) { try pushValue(next, bytes: bytes) } catch {
                cpu[GPR.rsp] = stack
                throw error
            }
        }
        cpu.codeSelector = selector & ~3 | UInt16(cpu.privilege)
        cpu.rip = offset
    }

    /// RETF.
    func emulateFarReturn(_ info: ZydisDecodedInstruction) throws(GuestException) {
        let bytes = UInt64(info.operand_width / 8)
        let operand = fetch.operands[0]
        let released = operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? operand.imm.value.u & 0xFFFF : 0
        let rip = try stackSlot(0, bytes: Int(bytes))
        let selector = UInt16(truncatingIfNeeded: try stackSlot(bytes, bytes: Int(bytes)))
        let level = UInt8(selector & 3)
        if try leavesLongMode(selector) { return try interpretInstruction() }
        try checkReturn(rip, selector)
        if level == cpu.privilege {
            cpu[GPR.rsp] &+= 2 * bytes &+ released
        } else {
            let stack = try stackSlot(2 * bytes &+ released, bytes: Int(bytes))
            let stackSelector = UInt16(truncatingIfNeeded: try stackSlot(3 * bytes &+ released, bytes: Int(bytes)))
            try checkReturnStack(stackSelector, level)
            cpu.stackSelector = stackSelector
            cpu[GPR.rsp] = stack &+ released
            dropPrivilegedSegments(level)
        }
        cpu.rip = rip
        cpu.codeSelector = selector
        enterPrivilege(level)
    }

    /// IRET of any operand size (`bytes` a slot): RIP, CS, RFLAGS, RSP and SS from the stack (Intel SDM vol. 2, IRET).
    func interruptReturn(bytes: UInt64 = 8) throws(GuestException) {
        // There are no nested tasks in IA-32e mode.
        guard cpu.flags & Flags.nestedTask == 0 else { throw .protection }
        let size = Int(bytes)
        let rip = try stackSlot(0, bytes: size)
        let selector = UInt16(truncatingIfNeeded: try stackSlot(bytes, bytes: size))
        let flags = try stackSlot(2 * bytes, bytes: size)
        let stack = try stackSlot(3 * bytes, bytes: size)
        let stackSelector = UInt16(truncatingIfNeeded: try stackSlot(4 * bytes, bytes: size))
        let level = UInt8(selector & 3)
        if try leavesLongMode(selector) { return try interpretInstruction() }
        try checkReturn(rip, selector)
        try checkReturnStack(stackSelector, level)
        setFlags(flags, bits: size == 2 ? 16 : 64)
        cpu.rip = rip
        cpu.codeSelector = selector
        cpu.stackSelector = stackSelector
        cpu[GPR.rsp] = stack
        if level != cpu.privilege { dropPrivilegedSegments(level) }
        enterPrivilege(level)
    }

    /// Whether a return within ring 0 is one to compatibility mode.
    private func leavesLongMode(_ selector: UInt16) throws(GuestException) -> Bool {
        guard cpu.privilege == 0, selector & 3 == 0, selector != 0, let found = try descriptor(selector) else {
            return false
        }
        return found.isCode && !found.isLong
    }

    /// Code that is returned to: the same or a lower privilege, 64-bit, at a canonical address.
    private func checkReturn(_ rip: UInt64, _ selector: UInt16) throws(GuestException) {
        guard selector & ~3 != 0 else { throw .protection }
        let fault = Self.selectorFault(GuestException.generalProtection, selector)
        let level = UInt8(selector & 3)
        guard let found = try descriptor(selector), found.isCode, level >= cpu.privilege,
            found.isConforming ? found.privilege <= level : found.privilege == level
        else { throw fault }
        guard found.isPresent else { throw Self.selectorFault(GuestException.segmentNotPresent, selector) }
        if !found.isLong { pendingStop = .unsupported("ring-3 compatibility-mode (32-bit) code") }
        if level == 1 || level == 2 { pendingStop = .unsupported("rings 1 and 2") }
        guard AddressMap.isCanonical(rip) else { throw .protection }
    }

    /// SS that is returned to: null is allowed but for ring 3.
    private func checkReturnStack(_ selector: UInt16, _ level: UInt8) throws(GuestException) {
        if selector & ~3 == 0 {
            guard level != 3, selector & 3 == UInt16(level) else { throw .protection }
            return
        }
        let fault = Self.selectorFault(GuestException.generalProtection, selector)
        guard let found = try descriptor(selector), UInt8(selector & 3) == level, found.isWritableData,
            found.privilege == level
        else { throw fault }
        guard found.isPresent else { throw Self.selectorFault(GuestException.stackFault, selector) }
    }

    /// Data segments that the outer ring may not have become null.
    private func dropPrivilegedSegments(_ level: UInt8) {
        for number in [0, 3, 4, 5] where cpu.selectors[number] & ~3 != 0 {
            guard let found = try? descriptor(cpu.selectors[number]), !found.isConforming, found.privilege < level
            else { continue }
            cpu.selectors[number] = 0
        }
    }
}
