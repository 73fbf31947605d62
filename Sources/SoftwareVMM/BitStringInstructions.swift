import CZydis
import Machine

/// BT, BTS, BTR and BTC with memory and a register, in the forms that the translator leaves to the VMM.
extension SoftwareMachine {
    /// Carries it out. The register's value, signed, counts bits from the operand's address on; the word that holds the bit is
    /// accessed (Intel SDM vol. 2, BT; vol. 1, 3.7.5 for addresses of 32 bits, which are truncated with that offset in).
    func emulateBitString(_ info: ZydisDecodedInstruction, next: UInt64) throws(GuestException) {
        let operand = fetch.operands[0]
        let bits = UInt64(operand.size)
        let bytes = Int(bits) / 8
        let selector = try read(fetch.operands[1], info, next: next)
        let offset = Int64(bitPattern: selector << (64 - bits)) >> Int64(64 - bits)
        let base = segmentBase(operand.mem.segment)
        var address = effectiveAddress(operand, info, next: next) &- base
        address &+= UInt64(bitPattern: (offset >> Int64(bits.trailingZeroBitCount)) &* Int64(bytes))
        if info.address_width == 32 { address &= 0xFFFF_FFFF }
        address &+= base
        let isStack = operand.mem.segment == ZYDIS_REGISTER_SS
        let mask: UInt64 = 1 << (selector & (bits - 1))
        if info.mnemonic != ZYDIS_MNEMONIC_BT {
            // One access that reads and writes: its page fault is that of a write.
            try checkWrite(address, bytes: bytes, isStack: isStack)
        }
        let value = try read(address, bytes: bytes, isStack: isStack)
        switch info.mnemonic {
        case ZYDIS_MNEMONIC_BTS: try write(value | mask, at: address, bytes: bytes, isStack: isStack)
        case ZYDIS_MNEMONIC_BTR: try write(value & ~mask, at: address, bytes: bytes, isStack: isStack)
        case ZYDIS_MNEMONIC_BTC: try write(value ^ mask, at: address, bytes: bytes, isStack: isStack)
        default: break
        }
        // Only CF is defined; the CPU leaves the rest as it was.
        cpu.state.pointee.rflags = cpu.state.pointee.rflags & ~1 | (value & mask == 0 ? 0 : 1)
    }
}
