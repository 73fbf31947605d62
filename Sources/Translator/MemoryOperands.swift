import CZydis

extension DecodedInstruction {
    /// Whether the memory operand is relative to the guest's own FS or GS base.
    var hasGuestSegment: Bool {
        info.attributes & (UInt64(ZYDIS_ATTRIB_HAS_SEGMENT_FS) | UInt64(ZYDIS_ATTRIB_HAS_SEGMENT_GS))
            != 0
    }

    /// Prefixes in front of REX, VEX or the opcode.
    var legacyPrefixes: Slice<UnsafeBufferPointer<UInt8>> {
        bytes.prefix {
            switch $0 {
            case 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3: true
            default: false
            }
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

    static func isSegmentOverride(_ prefix: UInt8) -> Bool {
        switch prefix {
        case 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65: true
        default: false
        }
    }

    /// The bytes in front of ModRM without segment overrides, with the extension bits of base and index cleared when asked.
    func leadingBytes(clearingExtensions: Bool) -> [UInt8] {
        let end = Int(info.raw.modrm.offset)
        let index = legacyPrefixes.count
        var result: [UInt8] = []
        result.reserveCapacity(16)
        for prefix in bytes[..<index] where !Self.isSegmentOverride(prefix) { result.append(prefix) }
        let prefixes = result.count
        result.append(contentsOf: bytes[index..<end])
        if clearingExtensions {
            switch info.encoding {
            case ZYDIS_INSTRUCTION_ENCODING_LEGACY
            where result.count > prefixes && result[prefixes] & 0xF0 == 0x40:
                result[prefixes] &= ~0b11
            case ZYDIS_INSTRUCTION_ENCODING_VEX where result[prefixes] == 0xC4,
                ZYDIS_INSTRUCTION_ENCODING_EVEX, ZYDIS_INSTRUCTION_ENCODING_XOP:
                // X and B are stored inverted in bits 6 and 5.
                result[prefixes + 1] |= 0b0110_0000
            default: break
            }
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
        if needsSegmentBase(instruction) { return emitGuestSegmentAccess(instruction, &emitter) }
        if let address = instruction.ripRelativeAddress {
            // With an address-size prefix the address is truncated to 32 bits; no compiler emits it.
            guard instruction.info.address_width == 64 else { return callout(instruction, &emitter) }
            return emitRIPRelative(instruction, address, &emitter)
        }
        guard options.privilege == .supervisor else {
            emitter.raw(instruction.bytes)
            return .next
        }
        guard instruction.length < 15 else { return callout(instruction, &emitter) }
        emitter.prefixGuestAccess()
        emitter.raw(instruction.leadingBytes(clearingExtensions: false))
        emitter.raw(instruction.bytes[Int(instruction.info.raw.modrm.offset)...])
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
            emitter.raw(instruction.bytes.drop { [0x26, 0x2E, 0x36, 0x3E].contains($0) })
        } else {
            emitter.raw(instruction.bytes)
        }
        return .next
    }

    private func emitRIPRelative(
        _ instruction: DecodedInstruction, _ address: UInt64, _ emitter: inout CodeEmitter
    ) -> Flow {
        let immediate = instruction.bytes[instruction.operandEnd...]
        if let short = Int32(exactly: Int64(bitPattern: address)) {
            guard instruction.length < 14 else { return callout(instruction, &emitter) }
            emitSegmentPrefix(of: instruction, &emitter)
            emitter.raw(instruction.leadingBytes(clearingExtensions: true))
            // ModRM with SIB, no base, no index: disp32 alone.
            emitter.raw(instruction.info.raw.modrm.reg << 3 | 4, 0x25)
            emitter.word32(short)
            emitter.raw(immediate)
            return .next
        }
        guard let scratch = instruction.scratch() else { return callout(instruction, &emitter) }
        emitter.spill(scratch)
        emitter.mark(instruction.rip, [.spilled(scratch)])
        emitter.load(scratch, value: address)
        emitAccess(instruction, base: scratch, &emitter)
        return .next
    }

    /// The instruction with `fs:[base]` as its memory operand, then the guest's `base` register (and `also`) put back.
    private func emitAccess(
        _ instruction: DecodedInstruction, base: Register, displacement: Int32 = 0,
        also other: Register? = nil,
        _ emitter: inout CodeEmitter
    ) {
        emitSegmentPrefix(of: instruction, &emitter)
        emitter.raw(instruction.leadingBytes(clearingExtensions: true))
        emitter.byte(0x80 | instruction.info.raw.modrm.reg << 3 | base.rawValue)
        emitter.word32(displacement)
        emitter.raw(instruction.bytes[instruction.operandEnd...])
        var undo: Undo = [.spilled(base)]
        if let other { undo.insert(.spilled(other)) }
        emitter.mark(instruction.next, undo)
        emitter.unspill(base)
        if let other { emitter.unspill(other) }
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

    /// An operand relative to the guest's FS or GS base.
    private func emitGuestSegmentAccess(
        _ instruction: DecodedInstruction, _ emitter: inout CodeEmitter
    ) -> Flow {
        guard let memory = instruction.memory, instruction.info.address_width == 64,
            instruction.info.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY,
            instruction.ripRelativeAddress == nil, let base = instruction.scratch(),
            instruction.length < 12
        else { return callout(instruction, &emitter) }
        let isFS = instruction.info.attributes & UInt64(ZYDIS_ATTRIB_HAS_SEGMENT_FS) != 0
        let slot = isFS ? layout.guestFSBase : layout.guestGSBase
        emitter.spill(base)
        emitter.mark(instruction.rip, [.spilled(base)])
        if memory.mem.base == ZYDIS_REGISTER_NONE && memory.mem.index == ZYDIS_REGISTER_NONE {
            emitter.load(base, from: slot)
            emitAccess(
                instruction, base: base, displacement: Int32(truncatingIfNeeded: memory.mem.disp.value),
                &emitter)
            return .next
        }
        guard let other = instruction.scratch(excluding: base) else {
            emitter.unspill(base)
            return callout(instruction, &emitter)
        }
        emitter.spill(other)
        emitter.mark(instruction.rip, [.spilled(base), .spilled(other)])
        emitEffectiveAddress(of: instruction, into: base, &emitter)
        emitter.load(other, from: slot)
        emitter.add(other, to: base)
        emitAccess(instruction, base: base, also: other, &emitter)
        return .next
    }

    /// `lea destination, [operand of instruction]` for an operand that is not RIP-relative. `destination` is a low register.
    func emitEffectiveAddress(
        of instruction: DecodedInstruction, into destination: Register, _ emitter: inout CodeEmitter
    ) {
        emitWithOperand(of: instruction, opcode: 0x8D, register: destination, prefix: nil, &emitter)
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
