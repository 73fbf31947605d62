import CZydis

/// Translates guest code for execution in ring 3 of the host: guest bytes in, host bytes and maps out.
///
/// A pure function of its arguments. Layout of a block:
///
///     0              where a wrong address leaves
///     indirectEntry  verify that RCX is this block's guest address
///     directEntry    translated instructions; conditional branches leave to their stubs
///     …              stubs, one a direct exit: name the exit, leave for the dispatcher
///
/// Guest registers stay in the same host registers. FS base is the window base (ring 3: the guest's own), GS base the vCPU
/// state (see `VCPULayout`). Not thread-safe: the decoder's storage is used again for every instruction.
public final class Translator {
    let decoder = InstructionDecoder()
    private let buffer = CodeBuffer()
    let layout: VCPULayout
    /// Blocks made from here on follow them.
    public var options: TranslationOptions

    public init(layout: VCPULayout, options: TranslationOptions) {
        self.layout = layout
        self.options = options
    }

    /// What follows an instruction.
    enum Flow {
        case next
        case endsBlock
    }

    struct PendingExit {
        var displacementOffset: Int
        var target: UInt64
    }

    /// A block being made.
    struct Assembly {
        var emitter: CodeEmitter
        var exits: [PendingExit] = []
    }

    /// Translates from `rip` on; `bytes` are the guest's code there, ending where the next page is not wanted.
    ///
    /// - Parameter isCallout: whether the instruction at a guest address, with these bytes, is to be left to the VMM, whatever it is.
    /// - Throws: `needsMoreBytes` when not even the first instruction is whole.
    public func translate(
        _ rip: UInt64, bytes: UnsafeBufferPointer<UInt8>,
        isCallout: (UInt64, UnsafeBufferPointer<UInt8>) -> Bool = { _, _ in false }
    ) throws(TranslationError) -> TranslatedBlock {
        var assembly = Assembly(
            emitter: CodeEmitter(
                layout: layout, guestPrefix: options.privilege == .supervisor ? 0x64 : nil, buffer: buffer))
        let indirectEntry = emitVerification(of: rip, &assembly.emitter)
        let directEntry = assembly.emitter.offset
        var position = 0
        var count = 0
        var flow = Flow.next
        while case .next = flow {
            let current = rip &+ UInt64(position)
            assembly.emitter.mark(current)
            guard count < options.instructionLimit else {
                emitJump(to: current, &assembly)
                break
            }
            let rest = UnsafeBufferPointer(rebasing: bytes[min(position, bytes.count)...])
            switch decoder.decode(rest, rip: current) {
            case .failure(.truncated):
                guard count > 0 else { throw .needsMoreBytes }
                emitJump(to: current, &assembly)
                flow = .endsBlock
            case .failure(.invalid):
                // The VMM finds out what the CPU would say of it (mostly #UD).
                emitCallout(current, &assembly.emitter)
                position += 1
                count += 1
                flow = .endsBlock
            case .instruction(let instruction):
                if isCallout(current, instruction.bytes) {
                    emitCallout(current, &assembly.emitter)
                    flow = .endsBlock
                } else {
                    flow = translate(instruction, &assembly)
                }
                position += instruction.length
                count += 1
            }
        }
        let exits = emitStubs(&assembly)
        return TranslatedBlock(
            guestStart: rip, guestBytes: position, instructionCount: count, code: assembly.emitter.code,
            indirectEntry: indirectEntry, directEntry: directEntry, exits: exits, map: assembly.emitter.map)
    }

    private func translate(_ instruction: DecodedInstruction, _ assembly: inout Assembly) -> Flow {
        if !options.withheld.isEmpty,
            !options.withheld.isDisjoint(with: WithheldInstructions(of: instruction.info, instruction.operands))
        {
            emitCallout(instruction.rip, &assembly.emitter)
            return .endsBlock
        }
        if let flow = emitPrivilegeChange(instruction, &assembly.emitter) { return flow }
        if needsVMM(instruction) || options.privilege == .user && needsVMMInUser(instruction) {
            emitCallout(instruction.rip, &assembly.emitter)
            return .endsBlock
        }
        switch instruction.mnemonic {
        case ZYDIS_MNEMONIC_JMP, ZYDIS_MNEMONIC_CALL:
            return translateBranch(instruction, &assembly)
        case ZYDIS_MNEMONIC_RET:
            emitReturn(instruction, &assembly.emitter)
            return .endsBlock
        case ZYDIS_MNEMONIC_PUSH, ZYDIS_MNEMONIC_POP, ZYDIS_MNEMONIC_LEAVE:
            return emitStack(instruction, &assembly.emitter)
        case ZYDIS_MNEMONIC_CLI:
            assembly.emitter.store(value: 0, to: layout.virtualInterruptFlag)
            return .next
        case ZYDIS_MNEMONIC_RDFSBASE, ZYDIS_MNEMONIC_RDGSBASE:
            return emitSegmentBase(instruction, &assembly.emitter)
        case ZYDIS_MNEMONIC_LEA:
            emitLoadEffectiveAddress(instruction, &assembly.emitter)
            return .next
        default:
            if instruction.info.meta.category == ZYDIS_CATEGORY_COND_BR {
                emitConditionalBranch(instruction, &assembly)
                return .next
            }
            if isString(instruction) { return emitString(instruction, &assembly.emitter) }
            return emitOrdinary(instruction, &assembly.emitter)
        }
    }

    /// Privileged instructions, and sensitive ones that ring 3 would run with another meaning (SDM vol. 3, 2.8; Robin & Irvine 2000).
    private func needsVMM(_ instruction: DecodedInstruction) -> Bool {
        let info = instruction.info
        if instruction.mnemonic == ZYDIS_MNEMONIC_CLI { return false }
        // With an operand-size prefix a near branch goes to a 16-bit address on AMD and to the same one on Intel.
        switch info.meta.category {
        case ZYDIS_CATEGORY_COND_BR, ZYDIS_CATEGORY_UNCOND_BR, ZYDIS_CATEGORY_CALL, ZYDIS_CATEGORY_RET:
            if info.raw.rex.W == 0 && instruction.legacyPrefixes.contains(0x66) { return true }
        default: break
        }
        if info.attributes & UInt64(ZYDIS_ATTRIB_IS_PRIVILEGED) != 0 { return true }
        if options.alwaysExits, isIndirectBranch(instruction) || isRepeated(instruction) { return true }
        // VIA's instructions write through ES:RDI. Conditional jumps with VEX are Knights Corner's, undefined elsewhere.
        if info.meta.category == ZYDIS_CATEGORY_PADLOCK { return true }
        // They store to ES, which no prefix overrides. AMX, which guests are not offered, reads strides.
        if info.meta.category == ZYDIS_CATEGORY_AMX_TILE { return true }
        if info.meta.category != ZYDIS_CATEGORY_STRINGOP,
            instruction.operands.contains(where: {
                $0.type == ZYDIS_OPERAND_TYPE_MEMORY && $0.mem.segment == ZYDIS_REGISTER_ES
            })
        {
            return true
        }
        if info.meta.category == ZYDIS_CATEGORY_COND_BR, info.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY {
            return true
        }
        switch instruction.mnemonic {
        case ZYDIS_MNEMONIC_STI, ZYDIS_MNEMONIC_PUSHF, ZYDIS_MNEMONIC_PUSHFD, ZYDIS_MNEMONIC_PUSHFQ,
            ZYDIS_MNEMONIC_POPF, ZYDIS_MNEMONIC_POPFD, ZYDIS_MNEMONIC_POPFQ,
            ZYDIS_MNEMONIC_IRET, ZYDIS_MNEMONIC_IRETD, ZYDIS_MNEMONIC_IRETQ,
            ZYDIS_MNEMONIC_SYSCALL, ZYDIS_MNEMONIC_SYSRET, ZYDIS_MNEMONIC_SYSENTER,
            ZYDIS_MNEMONIC_SYSEXIT,
            ZYDIS_MNEMONIC_INT, ZYDIS_MNEMONIC_INT1, ZYDIS_MNEMONIC_INT3,
            ZYDIS_MNEMONIC_UD0, ZYDIS_MNEMONIC_UD1, ZYDIS_MNEMONIC_UD2,
            ZYDIS_MNEMONIC_CPUID, ZYDIS_MNEMONIC_XGETBV, ZYDIS_MNEMONIC_RDPMC, ZYDIS_MNEMONIC_SWAPGS,
            ZYDIS_MNEMONIC_IN, ZYDIS_MNEMONIC_OUT, ZYDIS_MNEMONIC_INSB, ZYDIS_MNEMONIC_INSW,
            ZYDIS_MNEMONIC_INSD,
            ZYDIS_MNEMONIC_OUTSB, ZYDIS_MNEMONIC_OUTSW, ZYDIS_MNEMONIC_OUTSD,
            ZYDIS_MNEMONIC_SGDT, ZYDIS_MNEMONIC_SIDT, ZYDIS_MNEMONIC_SLDT, ZYDIS_MNEMONIC_STR,
            ZYDIS_MNEMONIC_SMSW,
            ZYDIS_MNEMONIC_LAR, ZYDIS_MNEMONIC_LSL, ZYDIS_MNEMONIC_VERR, ZYDIS_MNEMONIC_VERW,
            ZYDIS_MNEMONIC_LFS, ZYDIS_MNEMONIC_LGS, ZYDIS_MNEMONIC_LSS, ZYDIS_MNEMONIC_ENTER,
            ZYDIS_MNEMONIC_CLAC, ZYDIS_MNEMONIC_STAC, ZYDIS_MNEMONIC_XBEGIN, ZYDIS_MNEMONIC_XABORT,
            ZYDIS_MNEMONIC_XEND,
            ZYDIS_MNEMONIC_VMCALL, ZYDIS_MNEMONIC_VMMCALL, ZYDIS_MNEMONIC_VMFUNC, ZYDIS_MNEMONIC_RSM,
            ZYDIS_MNEMONIC_MONITOR, ZYDIS_MNEMONIC_MWAIT, ZYDIS_MNEMONIC_RDPID,
            // It accesses memory that RAX names and ignores segment overrides.
            ZYDIS_MNEMONIC_CLZERO,
            // Their destination is in ES, though the decoder does not always say so.
            ZYDIS_MNEMONIC_MOVDIR64B, ZYDIS_MNEMONIC_ENQCMD, ZYDIS_MNEMONIC_ENQCMDS,
            // Not offered to guests; where the host has them, they would lock the VMM out of its own memory.
            ZYDIS_MNEMONIC_RDPKRU, ZYDIS_MNEMONIC_WRPKRU,
            // User interrupts, which are not offered either.
            ZYDIS_MNEMONIC_SENDUIPI, ZYDIS_MNEMONIC_UIRET, ZYDIS_MNEMONIC_TESTUI, ZYDIS_MNEMONIC_CLUI,
            ZYDIS_MNEMONIC_STUI,
            ZYDIS_MNEMONIC_WRFSBASE, ZYDIS_MNEMONIC_WRGSBASE,
            // Privileged too, but the decoder's attribute is not set for every one of these.
            ZYDIS_MNEMONIC_LGDT, ZYDIS_MNEMONIC_LIDT, ZYDIS_MNEMONIC_LLDT, ZYDIS_MNEMONIC_LTR, ZYDIS_MNEMONIC_LMSW,
            ZYDIS_MNEMONIC_CLTS, ZYDIS_MNEMONIC_HLT, ZYDIS_MNEMONIC_INVD, ZYDIS_MNEMONIC_WBINVD,
            ZYDIS_MNEMONIC_INVLPG, ZYDIS_MNEMONIC_INVPCID, ZYDIS_MNEMONIC_RDMSR, ZYDIS_MNEMONIC_WRMSR,
            ZYDIS_MNEMONIC_XSETBV, ZYDIS_MNEMONIC_XSAVES, ZYDIS_MNEMONIC_XSAVES64, ZYDIS_MNEMONIC_XRSTORS,
            ZYDIS_MNEMONIC_XRSTORS64:
            return true
        case ZYDIS_MNEMONIC_RET, ZYDIS_MNEMONIC_CALL, ZYDIS_MNEMONIC_JMP:
            return info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR
        case ZYDIS_MNEMONIC_MOV:
            // Segment, control and debug registers: 8C, 8E, 0F 20…23.
            if info.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT {
                return info.opcode == 0x8C || info.opcode == 0x8E
            }
            return info.opcode_map == ZYDIS_OPCODE_MAP_0F && (0x20...0x23).contains(info.opcode)
        case ZYDIS_MNEMONIC_PUSH, ZYDIS_MNEMONIC_POP, ZYDIS_MNEMONIC_LEAVE:
            // FS and GS, and the 16-bit forms no 64-bit kernel uses.
            return info.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT || info.operand_width == 16
        default:
            return false
        }
    }

    /// Of ring 3 only: ring 0 has CLI and segment bases inline.
    private func needsVMMInUser(_ instruction: DecodedInstruction) -> Bool {
        switch instruction.mnemonic {
        case ZYDIS_MNEMONIC_CLI: true
        default: false
        }
    }

    private func isIndirectBranch(_ instruction: DecodedInstruction) -> Bool {
        switch instruction.mnemonic {
        case ZYDIS_MNEMONIC_RET: true
        case ZYDIS_MNEMONIC_CALL, ZYDIS_MNEMONIC_JMP: instruction.operands[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE
        default: false
        }
    }

    private func isRepeated(_ instruction: DecodedInstruction) -> Bool {
        let prefixes =
            UInt64(ZYDIS_ATTRIB_HAS_REP) | UInt64(ZYDIS_ATTRIB_HAS_REPE) | UInt64(ZYDIS_ATTRIB_HAS_REPNE)
        return isString(instruction) && instruction.info.attributes & prefixes != 0
    }

    // MARK: Leaving the block

    /// The VMM carries out the instruction at `rip` and goes on behind it.
    func emitCallout(_ rip: UInt64, _ emitter: inout CodeEmitter) {
        emitter.mark(rip)
        emitter.store(value64: rip, to: layout.instructionPointer)
        emitter.store(value: layout.emulateExit, to: layout.exitKind)
        emitter.jump(through: layout.exitStub)
    }

    /// `jmp target`, to be linked.
    func emitJump(to target: UInt64, _ assembly: inout Assembly) {
        assembly.emitter.mark(target)
        assembly.emitter.byte(0xE9)
        assembly.exits.append(PendingExit(displacementOffset: assembly.emitter.offset, target: target))
        assembly.emitter.word32(0)
    }

    private func emitStubs(_ assembly: inout Assembly) -> [BlockExit] {
        assembly.exits.map { exit in
            let stub = assembly.emitter.offset
            assembly.emitter.mark(exit.target)
            assembly.emitter.store(value: 0, to: layout.exitIdentifier)
            let identifier = assembly.emitter.offset - 4
            assembly.emitter.store(value: layout.chainExit, to: layout.exitKind)
            assembly.emitter.jump(through: layout.exitStub)
            assembly.emitter.patch32(
                at: exit.displacementOffset, Int32(stub - exit.displacementOffset - 4))
            return BlockExit(
                displacementOffset: exit.displacementOffset, stubOffset: stub, identifierOffset: identifier,
                target: exit.target)
        }
    }

    // MARK: Branches

    private func translateBranch(_ instruction: DecodedInstruction, _ assembly: inout Assembly)
        -> Flow
    {
        let isCall = instruction.mnemonic == ZYDIS_MNEMONIC_CALL
        let operand = instruction.operands[0]
        if operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE {
            let target = instruction.next &+ UInt64(bitPattern: operand.imm.value.s)
            if isCall { emitPushReturnAddress(instruction.next, &assembly.emitter) }
            emitJump(to: target, &assembly)
            return .endsBlock
        }
        if !emitIndirectBranch(instruction, isCall: isCall, &assembly.emitter) {
            emitCallout(instruction.rip, &assembly.emitter)
        }
        return .endsBlock
    }

    private func emitConditionalBranch(_ instruction: DecodedInstruction, _ assembly: inout Assembly) {
        let target = instruction.next &+ UInt64(bitPattern: instruction.operands[0].imm.value.s)
        if instruction.info.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT
            && (0xE0...0xE3).contains(instruction.info.opcode)
        {
            // LOOP, JRCXZ & co. reach 127 bytes: over a jump to the next instruction, to a near jump to the target.
            //     loop taken ; jmp short next ; taken: jmp target ; next:
            assembly.emitter.raw(instruction.bytes.dropLast())
            assembly.emitter.byte(2)
            // RCX is counted down now: at the short jump the guest is behind the instruction.
            assembly.emitter.mark(instruction.next)
            assembly.emitter.raw(0xEB, 5)
            emitJump(to: target, &assembly)
        } else {
            assembly.emitter.raw(0x0F, 0x80 | instruction.info.opcode & 15)
            assembly.exits.append(
                PendingExit(displacementOffset: assembly.emitter.offset, target: target))
            assembly.emitter.word32(0)
        }
    }
}
