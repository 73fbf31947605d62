import CZydis
import Machine

/// What the CPU would have said of a memory operand that the host refused otherwise, because ring 0 sees memory through the
/// window: the host's segment is always FS, and an address may become canonical, or cease to be, on its way.
extension SoftwareMachine {
    /// The exception for a host #GP, or a page fault at an address that is not canonical for the guest, of the instruction
    /// at `cpu.rip`.
    func exceptionOfOperands() -> GuestException {
        guard let bytes = try? fetch.instruction(cpu.rip, user: cpu.privilege == 3, cpu.pagingMode),
            let info = fetch.decode(bytes)
        else { return .protection }
        let next = cpu.rip &+ UInt64(info.length)
        for index in 0..<Int(info.operand_count) {
            let operand = fetch.operands[index]
            guard operand.type == ZYDIS_OPERAND_TYPE_MEMORY else { continue }
            // A gather or scatter: one of its addresses was not canonical.
            if operand.mem.type == ZYDIS_MEMOP_TYPE_VSIB {
                return operand.mem.segment == ZYDIS_REGISTER_SS ? .stack : .protection
            }
            guard operand.mem.type == ZYDIS_MEMOP_TYPE_MEM else { continue }
            let size = max(UInt64(operand.size) / 8, 1)
            var address = effectiveAddress(operand, info, next: next) &+ bitStringOffset(info)
            let isWrite = UInt32(operand.actions) & ZYDIS_OPERAND_ACTION_MASK_WRITE.rawValue != 0
            // What a push or a call stores lies below RSP.
            let isImplicitStack =
                operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && operand.mem.base == ZYDIS_REGISTER_RSP
            if isImplicitStack && isWrite { address &-= size }
            guard AddressMap.isCanonical(address), AddressMap.isCanonical(address &+ size &- 1) else {
                return operand.mem.segment == ZYDIS_REGISTER_SS ? .stack : .protection
            }
            if !AddressMap.isCanonical(map.supervisorHost(address)) {
                return pageFault(address, Access(write: isWrite, user: cpu.privilege == 3))
            }
        }
        return .protection
    }

    /// BT, BTS, BTR and BTC with the bit in a register reach beyond their operand (Intel SDM vol. 2, BT).
    private func bitStringOffset(_ info: ZydisDecodedInstruction) -> UInt64 {
        switch info.mnemonic {
        case ZYDIS_MNEMONIC_BT, ZYDIS_MNEMONIC_BTS, ZYDIS_MNEMONIC_BTR, ZYDIS_MNEMONIC_BTC: break
        default: return 0
        }
        guard fetch.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER else { return 0 }
        let bits = Int64(info.operand_width)
        let bit = (Int64(bitPattern: register(fetch.operands[1].reg.value)) << (64 - bits)) >> (64 - bits)
        // Whole operands away, towards minus infinity.
        return UInt64(bitPattern: (bit & ~(bits - 1)) / 8)
    }

    /// A page beyond what the window shows: the guest has none there, or one that we cannot map.
    private func pageFault(_ address: UInt64, _ access: Access) -> GuestException {
        if case .fault(let code) = linear.walk.translate(address, access, cpu.pagingMode) {
            return GuestException(vector: GuestException.pageFault, errorCode: code, address: address)
        }
        pendingStop = .unsupported("guest addresses of 8 TiB and more, such as \(hex(address))")
        return .protection
    }

    /// The exception for a host trap that is the guest's own.
    func exception(ofTrap vector: UInt8) -> GuestException {
        // #TS, #NP, #SS, #AC (Intel SDM vol. 3, table 6-1).
        let hasErrorCode = [10, 11, 12, 17].contains(vector)
        return GuestException(
            vector: vector, errorCode: hasErrorCode ? UInt32(truncatingIfNeeded: cpu.state.pointee.trap_error) : nil)
    }
}
