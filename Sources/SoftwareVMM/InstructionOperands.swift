import CZydis
import GuestInterface
import Machine

/// Operands of the instructions that the VMM carries out for ring 0: registers in all widths, memory with the checks of the CPU.
extension SoftwareMachine {
    // MARK: Registers

    /// The 64-bit register that holds `value`, in encoding order. Nil: not a general-purpose one.
    static func generalRegister(_ value: ZydisRegister) -> Int? {
        let enclosing = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, value)
        guard ZydisRegisterGetClass(enclosing) == ZYDIS_REGCLASS_GPR64 else { return nil }
        return Int(ZydisRegisterGetId(enclosing))
    }

    func register(_ value: ZydisRegister) -> UInt64 { Self.generalRegister(value).map { cpu[$0] } ?? 0 }

    /// Writes a register as an instruction of that operand size does: 32 bits clear the upper half, 16 and 8 leave the rest.
    func write(_ value: UInt64, to register: Int, bits: UInt16) {
        switch bits {
        case 64: cpu[register] = value
        case 32: cpu[register] = value & 0xFFFF_FFFF
        case 16: cpu[register] = cpu[register] & ~0xFFFF | value & 0xFFFF
        default: cpu[register] = cpu[register] & ~0xFF | value & 0xFF
        }
    }

    // MARK: Addresses

    /// Linear address of a memory operand; `next` is the address of the following instruction.
    func effectiveAddress(_ operand: ZydisDecodedOperand, _ info: ZydisDecodedInstruction, next: UInt64) -> UInt64 {
        var address = UInt64(bitPattern: operand.mem.disp.value)
        if operand.mem.base == ZYDIS_REGISTER_RIP || operand.mem.base == ZYDIS_REGISTER_EIP {
            address &+= next
        } else {
            address &+= register(operand.mem.base)
        }
        address &+= register(operand.mem.index) &* UInt64(operand.mem.scale)
        if info.address_width == 32 { address &= 0xFFFF_FFFF }
        return address &+ segmentBase(operand.mem.segment)
    }

    /// Base that counts in 64-bit mode: that of FS or GS, zero for the others.
    func segmentBase(_ segment: ZydisRegister) -> UInt64 {
        switch segment {
        case ZYDIS_REGISTER_FS: cpu.state.pointee.guest_fs_base
        case ZYDIS_REGISTER_GS: cpu.state.pointee.guest_gs_base
        default: 0
        }
    }

    /// The same for an operand that no ModRM names, by the prefix.
    func segmentBase(of info: ZydisDecodedInstruction) -> UInt64 {
        if info.attributes & UInt64(ZYDIS_ATTRIB_HAS_SEGMENT_FS) != 0 { return cpu.state.pointee.guest_fs_base }
        if info.attributes & UInt64(ZYDIS_ATTRIB_HAS_SEGMENT_GS) != 0 { return cpu.state.pointee.guest_gs_base }
        return 0
    }

    // MARK: Memory

    private func check(_ address: UInt64, _ bytes: Int, isStack: Bool) throws(GuestException) {
        guard AddressMap.isCanonical(address), AddressMap.isCanonical(address &+ UInt64(bytes - 1)) else {
            throw isStack ? .stack : .protection
        }
    }

    /// Reads `bytes` (1 to 8) of guest memory.
    func read(_ address: UInt64, bytes: Int, isStack: Bool = false) throws(GuestException) -> UInt64 {
        try check(address, bytes, isStack: isStack)
        var value: UInt64 = 0
        try withUnsafeMutableBytes(of: &value) { (buffer) throws(GuestException) in
            try linear.read(
                address, into: buffer.baseAddress!, count: bytes, Access(user: cpu.privilege == 3), cpu.pagingMode)
        }
        return value
    }

    /// Throws the fault of a write, and sets dirty bits where there is none.
    func checkWrite(_ address: UInt64, bytes: Int, isStack: Bool = false) throws(GuestException) {
        try check(address, bytes, isStack: isStack)
        let access = Access(write: true, user: cpu.privilege == 3)
        let last = address &+ UInt64(bytes - 1)
        _ = try linear.translate(address, access, cpu.pagingMode)
        if last & ~0xFFF != address & ~0xFFF { _ = try linear.translate(last & ~0xFFF, access, cpu.pagingMode) }
    }

    /// Writes the low `bytes` (1 to 8) of `value`, all or, on a fault, none of them.
    func write(_ value: UInt64, at address: UInt64, bytes: Int, isStack: Bool = false) throws(GuestException) {
        try checkWrite(address, bytes: bytes, isStack: isStack)
        let access = Access(write: true, user: cpu.privilege == 3)
        for index in 0..<UInt64(bytes) {
            let physical = GuestPhysicalAddress(try linear.translate(address &+ index, access, cpu.pagingMode))
            // Writes to where there is no RAM are lost.
            guard let target = memory.pointer(to: physical, count: 1) else { continue }
            target.storeBytes(of: UInt8(truncatingIfNeeded: value >> (8 * index)), as: UInt8.self)
            let page = GuestPhysicalAddress(physical.rawValue & ~0xFFF)
            if index == 0 || physical.rawValue & 0xFFF == 0, let offset = memory.fileOffset(of: page) {
                noticeWrite(to: offset)
            }
        }
    }

    /// The value of a register, memory or immediate operand, zero-extended.
    func read(_ operand: ZydisDecodedOperand, _ info: ZydisDecodedInstruction, next: UInt64) throws(GuestException)
        -> UInt64
    {
        switch operand.type {
        case ZYDIS_OPERAND_TYPE_MEMORY:
            return try read(
                effectiveAddress(operand, info, next: next), bytes: Int(operand.size) / 8,
                isStack: operand.mem.segment == ZYDIS_REGISTER_SS)
        case ZYDIS_OPERAND_TYPE_IMMEDIATE: return operand.imm.value.u
        default: return register(operand.reg.value) & (operand.size >= 64 ? ~0 : 1 << UInt64(operand.size) - 1)
        }
    }

    /// Writes a register or memory operand.
    func write(
        _ value: UInt64, _ operand: ZydisDecodedOperand, _ info: ZydisDecodedInstruction, next: UInt64
    ) throws(GuestException) {
        if operand.type == ZYDIS_OPERAND_TYPE_MEMORY {
            try write(
                value, at: effectiveAddress(operand, info, next: next), bytes: Int(operand.size) / 8,
                isStack: operand.mem.segment == ZYDIS_REGISTER_SS)
        } else if let target = Self.generalRegister(operand.reg.value) {
            write(value, to: target, bits: operand.size)
        }
    }

    // MARK: Stack

    /// Reads a stack slot of `bytes` at RSP + `offset`.
    func stackSlot(_ offset: UInt64, bytes: Int) throws(GuestException) -> UInt64 {
        try read(cpu[GPR.rsp] &+ offset, bytes: bytes, isStack: true)
    }

    func pushValue(_ value: UInt64, bytes: Int) throws(GuestException) {
        let stack = cpu[GPR.rsp] &- UInt64(bytes)
        try write(value, at: stack, bytes: bytes, isStack: true)
        cpu[GPR.rsp] = stack
    }
}
