import CZydis

/// A memory operand made anew: [base + index × scale + displacement], with 64-bit addresses.
struct RelocatedOperand {
    var base: Register?
    /// Number of a general-purpose register, or of the vector register of a gather or scatter.
    var index: UInt8?
    /// Binary logarithm.
    var scale: UInt8 = 0
    var displacement: Int32 = 0

    var baseExtension: UInt8 { (base?.rawValue ?? 0) >> 3 & 1 }
    var indexExtension: UInt8 { (index ?? 0) >> 3 & 1 }

    /// ModRM, SIB and a displacement of 32 bits, which EVEX does not scale (Intel SDM vol. 2, 2.7.5).
    func encoding(register: UInt8) -> [UInt8] {
        let bits = UInt32(bitPattern: displacement)
        let displacement = (0..<4).map { UInt8(truncatingIfNeeded: bits >> (8 * UInt32($0))) }
        guard let base else {
            return [register << 3 | 4, scale << 6 | ((index ?? 4) & 7) << 3 | 5] + displacement
        }
        // RSP and R12 need a SIB byte as a base; as an index 4 means none.
        guard let index else {
            let sib: [UInt8] = base.rawValue & 7 == 4 ? [0x24] : []
            return [0x80 | register << 3 | base.rawValue & 7] + sib + displacement
        }
        return [0x80 | register << 3 | 4, scale << 6 | (index & 7) << 3 | base.rawValue & 7] + displacement
    }
}

extension DecodedInstruction {
    /// The operand's index register, general-purpose or vector.
    var indexNumber: UInt8? {
        guard let memory, memory.mem.index != ZYDIS_REGISTER_NONE else { return nil }
        return UInt8(bitPattern: ZydisRegisterGetId(memory.mem.index))
    }

    var hasVectorIndex: Bool {
        guard let memory, memory.mem.index != ZYDIS_REGISTER_NONE else { return false }
        return Self.register(memory.mem.index) == nil
    }

    /// BT, BTS, BTR and BTC with the bit in a register: its offset is part of the sum that 32-bit addresses truncate.
    var reachesBeyondOperand: Bool {
        switch mnemonic {
        case ZYDIS_MNEMONIC_BT, ZYDIS_MNEMONIC_BTS, ZYDIS_MNEMONIC_BTR, ZYDIS_MNEMONIC_BTC:
            operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER
        default: false
        }
    }

    var scaleLogarithm: UInt8 { UInt8((memory?.mem.scale ?? 1).trailingZeroBitCount & 3) }
}

/// Operands relative to the guest's FS or GS base, which the CPU does not hold, and RIP-relative ones with 32-bit addresses.
extension Translator {
    func emitSegmentAccess(_ instruction: DecodedInstruction, _ emitter: inout CodeEmitter) -> Flow {
        instruction.info.address_width == 64
            ? emitWideSegmentAccess(instruction, &emitter) : emitNarrowSegmentAccess(instruction, &emitter)
    }

    private func segmentSlot(_ instruction: DecodedInstruction) -> Int32 {
        instruction.info.attributes & UInt64(ZYDIS_ATTRIB_HAS_SEGMENT_FS) != 0
            ? layout.guestFSBase : layout.guestGSBase
    }

    /// With 64-bit addresses: the segment's base goes to a scratch register, which joins the operand's address.
    private func emitWideSegmentAccess(
        _ instruction: DecodedInstruction, _ emitter: inout CodeEmitter
    ) -> Flow {
        guard let memory = instruction.memory, let scratch = instruction.scratch() else {
            return callout(instruction, &emitter)
        }
        let guestBase = DecodedInstruction.register(memory.mem.base)
        var operand = RelocatedOperand(
            base: scratch, index: instruction.indexNumber, scale: instruction.scaleLogarithm,
            displacement: Int32(truncatingIfNeeded: memory.mem.disp.value))
        var joined: Register?
        if let address = instruction.ripRelativeAddress {
            guard let short = Int32(exactly: Int64(bitPattern: address)) else {
                return emitFarSegmentAccess(instruction, address, &emitter)
            }
            operand.displacement = short
        } else if operand.index != nil {
            joined = guestBase
        } else if guestBase == .rsp {
            // RSP cannot be an index.
            operand.base = .rsp
            operand.index = scratch.rawValue
        } else {
            operand.index = guestBase?.rawValue
        }
        guard fits(instruction, operand) else { return callout(instruction, &emitter) }
        emitter.spill(scratch)
        emitter.mark(instruction.rip, [.spilled(scratch)])
        emitter.load(scratch, from: segmentSlot(instruction))
        if let joined { emitter.join(joined, to: scratch) }
        emitAccess(instruction, operand, &emitter)
        emitter.mark(instruction.next, [.spilled(scratch)])
        emitter.unspill(scratch)
        return .next
    }

    /// RIP-relative, to where 32 bits do not reach.
    private func emitFarSegmentAccess(
        _ instruction: DecodedInstruction, _ address: UInt64, _ emitter: inout CodeEmitter
    ) -> Flow {
        guard let scratch = instruction.scratch(), let other = instruction.scratch(excluding: scratch),
            fits(instruction, RelocatedOperand(base: scratch))
        else { return callout(instruction, &emitter) }
        emitter.spill(scratch)
        emitter.mark(instruction.rip, [.spilled(scratch)])
        emitter.spill(other)
        emitter.mark(instruction.rip, [.spilled(scratch), .spilled(other)])
        emitter.load(scratch, from: segmentSlot(instruction))
        emitter.load(other, value: address)
        emitter.add(other, to: scratch)
        emitAccess(instruction, RelocatedOperand(base: scratch), &emitter)
        emitter.mark(instruction.next, [.spilled(scratch), .spilled(other)])
        emitter.unspill(scratch)
        emitter.unspill(other)
        return .next
    }

    /// With 32-bit addresses: the sum is truncated first, then the segment's base, if any, is added.
    private func emitNarrowSegmentAccess(
        _ instruction: DecodedInstruction, _ emitter: inout CodeEmitter
    ) -> Flow {
        guard let memory = instruction.memory, !instruction.hasVectorIndex, !instruction.reachesBeyondOperand,
            let scratch = instruction.scratch()
        else { return callout(instruction, &emitter) }
        let operand = RelocatedOperand(base: scratch)
        let needsBase = needsSegmentBase(instruction)
        let other = needsBase ? instruction.scratch(excluding: scratch) : nil
        guard fits(instruction, operand), !needsBase || other != nil else { return callout(instruction, &emitter) }
        var undo: Undo = [.spilled(scratch)]
        emitter.spill(scratch)
        emitter.mark(instruction.rip, undo)
        if let address = instruction.ripRelativeAddress {
            emitter.load(scratch, value: UInt64(UInt32(truncatingIfNeeded: address)))
        } else {
            let sum = RelocatedOperand(
                base: DecodedInstruction.register(memory.mem.base), index: instruction.indexNumber,
                scale: instruction.scaleLogarithm, displacement: Int32(truncatingIfNeeded: memory.mem.disp.value))
            // lea r32, [sum]
            emitter.raw(0x40 | sum.indexExtension << 1 | sum.baseExtension, 0x8D)
            emitter.raw(sum.encoding(register: scratch.rawValue))
        }
        if let other {
            emitter.spill(other)
            undo.insert(.spilled(other))
            emitter.mark(instruction.rip, undo)
            emitter.load(other, from: segmentSlot(instruction))
            emitter.add(other, to: scratch)
        }
        emitAccess(instruction, operand, &emitter)
        emitter.mark(instruction.next, undo)
        emitter.unspill(scratch)
        if let other { emitter.unspill(other) }
        return .next
    }
}
