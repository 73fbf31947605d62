import CZydis

extension DecodedInstruction {
    /// Whether the memory operand is relative to the guest's own FS or GS base.
    var hasGuestSegment: Bool {
        info.attributes & (UInt64(ZYDIS_ATTRIB_HAS_SEGMENT_FS) | UInt64(ZYDIS_ATTRIB_HAS_SEGMENT_GS))
            != 0
    }

    /// What stands in front of the REX that counts, VEX or the opcode: prefixes, and REX bytes that do not count because another
    /// prefix follows them (Intel SDM vol. 2, 2.2.1).
    var legacyPrefixes: UnsafeBufferPointer<UInt8> {
        var end = 0
        var at = 0
        scan: while at < bytes.count {
            switch bytes[at] {
            case 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3:
                at += 1
                end = at
            case 0x40...0x4F: at += 1
            default: break scan
            }
        }
        while end + 1 < at { end += 1 }
        return UnsafeBufferPointer(rebasing: bytes[..<end])
    }

    /// Whether a byte of `legacyPrefixes` does nothing in 64-bit mode but to be in the way of other segment overrides, or is one.
    private static func isDropped(_ prefix: UInt8) -> Bool {
        switch prefix {
        case 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x40...0x4F: true
        default: false
        }
    }

    /// Guest address of a RIP-relative operand, before an address-size prefix truncates it.
    var ripRelativeAddress: UInt64? {
        guard let memory, memory.mem.base == ZYDIS_REGISTER_RIP || memory.mem.base == ZYDIS_REGISTER_EIP else {
            return nil
        }
        return next &+ UInt64(bitPattern: memory.mem.disp.value)
    }

    /// First byte behind ModRM, SIB and displacement: where immediates begin.
    var operandEnd: Int {
        if info.raw.disp.size > 0 { return Int(info.raw.disp.offset) + Int(info.raw.disp.size) / 8 }
        if info.raw.modrm.mod != 3 && info.raw.modrm.rm == 4 { return Int(info.raw.modrm.offset) + 2 }
        return Int(info.raw.modrm.offset) + 1
    }

    /// The instruction's bytes up to `end`, without segment overrides.
    private func bytesWithoutSegments(upTo end: Int) -> [UInt8] {
        let prefixes = legacyPrefixes
        var result: [UInt8] = []
        result.reserveCapacity(16)
        for prefix in prefixes where !Self.isDropped(prefix) { result.append(prefix) }
        result.append(contentsOf: bytes[prefixes.count..<end])
        return result
    }

    /// The bytes in front of ModRM without segment overrides.
    var leadingBytes: [UInt8] { bytesWithoutSegments(upTo: Int(info.raw.modrm.offset)) }

    /// The whole instruction without segment overrides.
    var bytesWithoutSegments: [UInt8] { bytesWithoutSegments(upTo: length) }

    /// The same for another memory operand with 64-bit addresses: the extension bits of its index and base are given.
    func leadingBytes(indexExtension: UInt8, baseExtension: UInt8) -> [UInt8] {
        let prefixes = legacyPrefixes
        var result: [UInt8] = []
        result.reserveCapacity(16)
        for prefix in prefixes where prefix != 0x67 && !Self.isDropped(prefix) { result.append(prefix) }
        let at = result.count
        result.append(contentsOf: bytes[prefixes.count..<Int(info.raw.modrm.offset)])
        switch info.encoding {
        case ZYDIS_INSTRUCTION_ENCODING_LEGACY where result.count > at && result[at] & 0xF0 == 0x40:
            result[at] = result[at] & ~0b11 | indexExtension << 1 | baseExtension
        case ZYDIS_INSTRUCTION_ENCODING_VEX where result[at] == 0xC4,
            ZYDIS_INSTRUCTION_ENCODING_EVEX, ZYDIS_INSTRUCTION_ENCODING_XOP:
            // X and B are stored inverted in bits 6 and 5.
            result[at + 1] = result[at + 1] & 0b1001_1111 | (~indexExtension & 1) << 6 | (~baseExtension & 1) << 5
        // Without REX or with the short VEX the guest's registers are low ones, and so are ours.
        default: break
        }
        return result
    }
}

/// Instructions that access memory by ModRM: the same instruction with an `fs:` prefix, its address made absolute or moved to a
/// scratch register where the prefix alone does not do.
extension Translator {
    func emitOrdinary(_ instruction: DecodedInstruction, _ emitter: inout CodeEmitter) -> Flow {
        guard let memory = instruction.memory else {
            return emitWithoutModRMMemory(instruction, &emitter)
        }
        if memory.mem.type == ZYDIS_MEMOP_TYPE_AGEN || instruction.mnemonic == ZYDIS_MNEMONIC_NOP {
            // No access happens, so the address does not matter.
            emitter.raw(instruction.bytes)
            return .next
        }
        if needsSegmentBase(instruction) { return emitSegmentAccess(instruction, &emitter) }
        if let address = instruction.ripRelativeAddress {
            // An address-size prefix truncates the address to 32 bits.
            guard instruction.info.address_width == 64 else { return emitSegmentAccess(instruction, &emitter) }
            return emitRIPRelative(instruction, address, &emitter)
        }
        guard options.privilege == .supervisor else {
            emitter.raw(instruction.bytes)
            return .next
        }
        let leading = instruction.leadingBytes
        let rest = instruction.bytes[Int(instruction.info.raw.modrm.offset)...]
        guard 1 + leading.count + rest.count <= 15 else { return callout(instruction, &emitter) }
        emitter.prefixGuestAccess()
        emitter.raw(leading)
        emitter.raw(rest)
        return .next
    }

    func callout(_ instruction: DecodedInstruction, _ emitter: inout CodeEmitter) -> Flow {
        emitCallout(instruction.rip, &emitter)
        return .endsBlock
    }

    private func emitWithoutModRMMemory(
        _ instruction: DecodedInstruction, _ emitter: inout CodeEmitter
    ) -> Flow {
        // MOV AL/rAX ↔ moffs, XLAT and MASKMOV access memory without a ModRM operand; a prefix does for them.
        let touchesMemory = instruction.operands.contains {
            $0.type == ZYDIS_OPERAND_TYPE_MEMORY && $0.mem.type == ZYDIS_MEMOP_TYPE_MEM
        }
        if touchesMemory {
            guard !needsSegmentBase(instruction) else { return callout(instruction, &emitter) }
            guard options.privilege == .supervisor else {
                emitter.raw(instruction.bytes)
                return .next
            }
            guard instruction.length < 15 else { return callout(instruction, &emitter) }
            emitter.prefixGuestAccess()
            emitter.raw(instruction.bytesWithoutSegments)
        } else {
            emitter.raw(instruction.bytes)
        }
        return .next
    }

    private func emitRIPRelative(
        _ instruction: DecodedInstruction, _ address: UInt64, _ emitter: inout CodeEmitter
    ) -> Flow {
        if let short = Int32(exactly: Int64(bitPattern: address)) {
            let operand = RelocatedOperand(displacement: short)
            guard fits(instruction, operand) else { return callout(instruction, &emitter) }
            emitAccess(instruction, operand, &emitter)
            return .next
        }
        guard let scratch = instruction.scratch() else { return callout(instruction, &emitter) }
        let operand = RelocatedOperand(base: scratch)
        guard fits(instruction, operand) else { return callout(instruction, &emitter) }
        emitter.spill(scratch)
        emitter.mark(instruction.rip, [.spilled(scratch)])
        emitter.load(scratch, value: address)
        emitAccess(instruction, operand, &emitter)
        emitter.mark(instruction.next, [.spilled(scratch)])
        emitter.unspill(scratch)
        return .next
    }

    /// Whether the instruction with another operand is within the 15 bytes that any may have.
    func fits(_ instruction: DecodedInstruction, _ operand: RelocatedOperand) -> Bool {
        let leading = instruction.leadingBytes(
            indexExtension: operand.indexExtension, baseExtension: operand.baseExtension)
        let immediates = instruction.length - instruction.operandEnd
        return 1 + leading.count + operand.encoding(register: 0).count + immediates <= 15
    }

    /// The instruction with another memory operand.
    func emitAccess(
        _ instruction: DecodedInstruction, _ operand: RelocatedOperand, _ emitter: inout CodeEmitter
    ) {
        emitSegmentPrefix(of: instruction, &emitter)
        emitter.raw(
            instruction.leadingBytes(indexExtension: operand.indexExtension, baseExtension: operand.baseExtension))
        emitter.raw(operand.encoding(register: instruction.info.raw.modrm.reg))
        emitter.raw(instruction.bytes[instruction.operandEnd...])
    }

    /// Whether a memory operand is relative to a base that the CPU does not hold: GS always, FS while it is the window base.
    func needsSegmentBase(_ instruction: DecodedInstruction) -> Bool {
        let held: UInt64 = options.privilege == .user ? UInt64(ZYDIS_ATTRIB_HAS_SEGMENT_FS) : 0
        return instruction.hasGuestSegment && instruction.info.attributes & held == 0
    }

    /// The override of an instruction whose operand is made anew: into the window for ring 0, the guest's own FS for ring 3.
    private func emitSegmentPrefix(of instruction: DecodedInstruction, _ emitter: inout CodeEmitter) {
        if options.privilege == .supervisor {
            emitter.prefixGuestAccess()
        } else if instruction.info.attributes & UInt64(ZYDIS_ATTRIB_HAS_SEGMENT_FS) != 0 {
            emitter.byte(0x64)
        }
    }

    /// Whether `emitLoad` can express the memory operand.
    func canLoadOperand(of instruction: DecodedInstruction) -> Bool {
        !instruction.hasGuestSegment && instruction.info.address_width == 64
    }

    /// `mov destination, [operand of instruction]`, 64 bits. Only where `canLoadOperand` says so.
    func emitLoad(of instruction: DecodedInstruction, into destination: Register, _ emitter: inout CodeEmitter) {
        guard let address = instruction.ripRelativeAddress else {
            emitWithOperand(
                of: instruction, opcode: 0x8B, register: destination, prefix: emitter.guestPrefix, &emitter)
            return
        }
        if let short = Int32(exactly: Int64(bitPattern: address)) {
            emitter.prefixGuestAccess()
            emitter.raw(0x48, 0x8B, destination.rawValue << 3 | 4, 0x25)
            emitter.word32(short)
        } else {
            emitter.load(destination, value: address)
            emitter.loadGuest(destination, base: destination, displacement: 0)
        }
    }

    /// A one-byte-opcode instruction with 64-bit operand size on the memory operand of `instruction`, `register` in its reg field.
    func emitWithOperand(
        of instruction: DecodedInstruction, opcode: UInt8, register: Register, prefix: UInt8?,
        _ emitter: inout CodeEmitter
    ) {
        let raw = instruction.info.raw
        let extensions = instruction.rexExtensions
        if let prefix { emitter.byte(prefix) }
        emitter.raw(0x48 | (register.rawValue >> 3) << 2 | extensions, opcode)
        emitter.byte(raw.modrm.mod << 6 | (register.rawValue & 7) << 3 | raw.modrm.rm)
        emitter.raw(instruction.bytes[(Int(raw.modrm.offset) + 1)..<instruction.operandEnd])
    }

    func emitLoadEffectiveAddress(_ instruction: DecodedInstruction, _ emitter: inout CodeEmitter) {
        guard var address = instruction.ripRelativeAddress,
            let destination = DecodedInstruction.register(instruction.operands[0].reg.value)
        else {
            emitter.raw(instruction.bytes)
            return
        }
        if instruction.info.address_width == 32 { address = UInt64(UInt32(truncatingIfNeeded: address)) }
        switch instruction.info.operand_width {
        case 64: emitter.load(destination, value: address)
        case 32: emitter.load(destination, value: UInt64(UInt32(truncatingIfNeeded: address)))
        default:
            // mov r16, imm16
            if destination.rawValue > 7 { emitter.raw(0x66, 0x41) } else { emitter.byte(0x66) }
            emitter.raw(
                0xB8 | destination.rawValue & 7, UInt8(truncatingIfNeeded: address),
                UInt8(truncatingIfNeeded: address >> 8))
        }
    }

    /// RDFSBASE and RDGSBASE: the guest's bases are not in the CPU while ring 0 runs. The VMM does the writing forms, which
    /// check that the address is canonical.
    func emitSegmentBase(_ instruction: DecodedInstruction, _ emitter: inout CodeEmitter) -> Flow {
        let slot = instruction.mnemonic == ZYDIS_MNEMONIC_RDFSBASE ? layout.guestFSBase : layout.guestGSBase
        guard let register = DecodedInstruction.register(instruction.operands[0].reg.value),
            instruction.info.operand_width == 64
        else { return callout(instruction, &emitter) }
        emitter.load(register, from: slot)
        return .next
    }
}

extension DecodedInstruction {
    /// REX.X and REX.B of a legacy-encoded instruction.
    var rexExtensions: UInt8 {
        guard info.attributes & UInt64(ZYDIS_ATTRIB_HAS_REX) != 0 else { return 0 }
        return info.raw.rex.X << 1 | info.raw.rex.B
    }
}
