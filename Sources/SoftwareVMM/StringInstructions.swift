import CZydis

/// RSI, RDI and RCX of a string instruction, in the address size of the instruction.
struct StringRegisters {
    private let cpu: VirtualCPU
    private let mask: UInt64
    private let repeats: Bool
    private let base: UInt64

    init(_ info: ZydisDecodedInstruction, _ machine: SoftwareMachine) {
        cpu = machine.cpu
        mask = info.address_width == 32 ? 0xFFFF_FFFF : ~0
        let prefixes =
            UInt64(ZYDIS_ATTRIB_HAS_REP) | UInt64(ZYDIS_ATTRIB_HAS_REPE) | UInt64(ZYDIS_ATTRIB_HAS_REPNE)
        repeats = info.attributes & prefixes != 0
        base = machine.segmentBase(of: info)
    }

    /// False: a REP with a count of zero.
    var hasWork: Bool { !repeats || cpu[GPR.rcx] & mask != 0 }
    /// DS:RSI, or with the segment given.
    var source: UInt64 { base &+ cpu[GPR.rsi] & mask }
    /// ES:RDI, which no prefix changes.
    var destination: UInt64 { cpu[GPR.rdi] & mask }

    /// One element is done. True while a REP has more to do.
    func advance(source: Bool, destination: Bool, by size: Int) -> Bool {
        let step = cpu.flags & Flags.direction == 0 ? UInt64(size) : 0 &- UInt64(size)
        if source { cpu[GPR.rsi] = (cpu[GPR.rsi] &+ step) & mask }
        if destination { cpu[GPR.rdi] = (cpu[GPR.rdi] &+ step) & mask }
        guard repeats else { return false }
        cpu[GPR.rcx] = (cpu[GPR.rcx] &- 1) & mask
        return cpu[GPR.rcx] != 0
    }
}

/// MOVS, CMPS, STOS, LODS and SCAS where the translator does not relocate them: with FS or GS, or 32-bit addresses.
extension SoftwareMachine {
    /// One element a call. True while a REP has more to do, so that RIP stays.
    func emulateString(_ info: ZydisDecodedInstruction) throws(GuestException) -> Bool {
        let string = StringRegisters(info, self)
        guard string.hasWork else { return false }
        let bits = UInt16(info.operand_width)
        let size = Int(bits) / 8
        switch info.opcode & 0xFE {
        case 0xA4:
            try write(try read(string.source, bytes: size), at: string.destination, bytes: size)
            return string.advance(source: true, destination: true, by: size)
        case 0xAA:
            try write(cpu[GPR.rax], at: string.destination, bytes: size)
            return string.advance(source: false, destination: true, by: size)
        case 0xAC:
            write(try read(string.source, bytes: size), to: GPR.rax, bits: bits)
            return string.advance(source: true, destination: false, by: size)
        default:
            // CMPS and SCAS, which a REP ends by ZF too.
            let isScan = info.opcode & 0xFE == 0xAE
            let left = isScan ? cpu[GPR.rax] : try read(string.source, bytes: size)
            let right = try read(string.destination, bytes: size)
            setFlags(ofComparing: left, with: right, bits: UInt64(bits))
            let more = string.advance(source: !isScan, destination: true, by: size)
            let wantsEqual = info.attributes & UInt64(ZYDIS_ATTRIB_HAS_REPE) != 0
            return more && (cpu.flags & Flags.zero != 0) == wantsEqual
        }
    }

    /// The arithmetic flags of `left - right`.
    private func setFlags(ofComparing left: UInt64, with right: UInt64, bits: UInt64) {
        let mask: UInt64 = bits == 64 ? ~0 : 1 << bits - 1
        let left = left & mask
        let right = right & mask
        let result = (left &- right) & mask
        let sign = bits - 1
        var flags: UInt64 = left < right ? 1 : 0
        if (result & 0xFF).nonzeroBitCount & 1 == 0 { flags |= 1 << 2 }
        if (left ^ right ^ result) & 0x10 != 0 { flags |= 1 << 4 }
        if result == 0 { flags |= Flags.zero }
        if result >> sign & 1 != 0 { flags |= 1 << 7 }
        if ((left ^ right) & (left ^ result)) >> sign & 1 != 0 { flags |= 1 << 11 }
        cpu.flags = cpu.flags & ~Flags.arithmetic | flags
    }
}
