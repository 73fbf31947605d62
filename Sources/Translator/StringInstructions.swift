import CZydis

/// MOVS, STOS, CMPS, SCAS and LODS, with and without REP.
///
/// Their ES:RDI operand takes no segment override, so RDI (and RSI where it is used) are moved into the window for the
/// instruction and back afterwards. A fault or an interrupt in the middle of a REP leaves the counts as the guest must see
/// them, once the relocation is undone.
extension Translator {
    func isString(_ instruction: DecodedInstruction) -> Bool {
        switch instruction.mnemonic {
        case ZYDIS_MNEMONIC_MOVSB, ZYDIS_MNEMONIC_MOVSW, ZYDIS_MNEMONIC_MOVSQ, ZYDIS_MNEMONIC_STOSB,
            ZYDIS_MNEMONIC_STOSW, ZYDIS_MNEMONIC_STOSD, ZYDIS_MNEMONIC_STOSQ, ZYDIS_MNEMONIC_CMPSB,
            ZYDIS_MNEMONIC_CMPSW, ZYDIS_MNEMONIC_CMPSQ, ZYDIS_MNEMONIC_SCASB, ZYDIS_MNEMONIC_SCASW,
            ZYDIS_MNEMONIC_SCASD, ZYDIS_MNEMONIC_SCASQ, ZYDIS_MNEMONIC_LODSB, ZYDIS_MNEMONIC_LODSW,
            ZYDIS_MNEMONIC_LODSD, ZYDIS_MNEMONIC_LODSQ:
            return true
        case ZYDIS_MNEMONIC_MOVSD, ZYDIS_MNEMONIC_CMPSD:
            // The same names serve SSE2 instructions, which have another opcode map.
            return instruction.info.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT
        default:
            return false
        }
    }

    func emitString(_ instruction: DecodedInstruction, _ emitter: inout CodeEmitter) -> Flow {
        if options.privilege == .user, !needsSegmentBase(instruction) {
            emitter.raw(instruction.bytes)
            return .next
        }
        guard !instruction.hasGuestSegment, instruction.info.address_width == 64 else {
            return callout(instruction, &emitter)
        }
        let usesSource = instruction.uses(.rsi)
        let usesDestination = instruction.uses(.rdi)
        let window = Register.r11
        var undo: Undo = [.spilled(window)]
        emitter.spill(window)
        emitter.mark(instruction.rip, undo)
        emitter.load(window, value: options.windowBase)
        if usesDestination {
            emitter.add(window, to: .rdi)
            undo.insert(.relocatedRDI)
            emitter.mark(instruction.rip, undo)
        }
        if usesSource {
            emitter.add(window, to: .rsi)
            undo.insert(.relocatedRSI)
            emitter.mark(instruction.rip, undo)
        }
        emitter.raw(instruction.bytesWithoutSegments)
        emitter.mark(instruction.next, undo)
        emitter.load(window, value: 0 &- options.windowBase)
        if usesDestination {
            emitter.add(window, to: .rdi)
            undo.remove(.relocatedRDI)
            emitter.mark(instruction.next, undo)
        }
        if usesSource {
            emitter.add(window, to: .rsi)
            undo.remove(.relocatedRSI)
            emitter.mark(instruction.next, undo)
        }
        emitter.unspill(window)
        return .next
    }
}
