import CZydis
import Translator

/// What must hold of every block the translator makes, whatever bytes it was given: the host code is decoded again and held
/// against a list of what it may do. So translated code cannot name host memory but through the window (`fs:`) and the
/// vCPU structure (`gs:`), and cannot enter the kernel, whatever the guest's code looks like.
public enum EmittedCode {
    public struct Violation: Error, CustomStringConvertible {
        public var description: String
    }

    /// Instructions that must never be emitted: they enter the host's kernel, change segments or leave the code cache.
    private static let forbidden: Set<UInt32> = Set(
        [
            ZYDIS_MNEMONIC_SYSCALL, ZYDIS_MNEMONIC_SYSENTER, ZYDIS_MNEMONIC_SYSRET, ZYDIS_MNEMONIC_SYSEXIT,
            ZYDIS_MNEMONIC_INT, ZYDIS_MNEMONIC_INT1, ZYDIS_MNEMONIC_INT3, ZYDIS_MNEMONIC_INTO,
            ZYDIS_MNEMONIC_IRET, ZYDIS_MNEMONIC_IRETD, ZYDIS_MNEMONIC_IRETQ, ZYDIS_MNEMONIC_UIRET,
            ZYDIS_MNEMONIC_CALL, ZYDIS_MNEMONIC_RET, ZYDIS_MNEMONIC_PUSH, ZYDIS_MNEMONIC_POP,
            ZYDIS_MNEMONIC_PUSHF, ZYDIS_MNEMONIC_PUSHFQ, ZYDIS_MNEMONIC_POPF, ZYDIS_MNEMONIC_POPFQ,
            ZYDIS_MNEMONIC_ENTER, ZYDIS_MNEMONIC_LEAVE, ZYDIS_MNEMONIC_CPUID, ZYDIS_MNEMONIC_XGETBV,
            ZYDIS_MNEMONIC_LSS, ZYDIS_MNEMONIC_LFS, ZYDIS_MNEMONIC_LGS, ZYDIS_MNEMONIC_WRFSBASE,
            ZYDIS_MNEMONIC_WRGSBASE, ZYDIS_MNEMONIC_RDFSBASE, ZYDIS_MNEMONIC_RDGSBASE, ZYDIS_MNEMONIC_WRPKRU,
            ZYDIS_MNEMONIC_STI, ZYDIS_MNEMONIC_CLI, ZYDIS_MNEMONIC_SGDT, ZYDIS_MNEMONIC_SIDT, ZYDIS_MNEMONIC_SLDT,
            ZYDIS_MNEMONIC_STR, ZYDIS_MNEMONIC_SMSW, ZYDIS_MNEMONIC_LAR, ZYDIS_MNEMONIC_LSL, ZYDIS_MNEMONIC_VERR,
            ZYDIS_MNEMONIC_VERW, ZYDIS_MNEMONIC_RDPID, ZYDIS_MNEMONIC_VMCALL, ZYDIS_MNEMONIC_VMMCALL,
            ZYDIS_MNEMONIC_ENQCMD, ZYDIS_MNEMONIC_SENDUIPI,
        ].map(\.rawValue))

    /// Ring 3 uses its stack where it is.
    private static let ownStack: Set<UInt32> = Set(
        [ZYDIS_MNEMONIC_PUSH, ZYDIS_MNEMONIC_POP, ZYDIS_MNEMONIC_LEAVE].map(\.rawValue))

    /// Checks a block. Ring 3 sees its own addresses, so its memory operands are free but for those by GS.
    public static func check(
        _ block: TranslatedBlock, _ layout: VCPULayout, _ privilege: TranslationOptions.Privilege
    ) throws(Violation) {
        try checkMap(block)
        var decoder = ZydisDecoder()
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)
        var operands = [ZydisDecodedOperand](repeating: ZydisDecodedOperand(), count: Int(ZYDIS_MAX_OPERAND_COUNT))
        var boundaries: Set<Int> = []
        var targets: [Int] = []
        var position = 0
        var endsInJump = false
        while position < block.code.count {
            boundaries.insert(position)
            var info = ZydisDecodedInstruction()
            let status = block.code[position...].withUnsafeBytes {
                ZydisDecoderDecodeFull(&decoder, $0.baseAddress, ZyanUSize($0.count), &info, &operands)
            }
            guard status & 0x8000_0000 == 0 else {
                throw Violation(description: "undecodable at offset \(position) of \(text(block))")
            }
            let visible = operands[..<Int(info.operand_count)]
            guard allowed(info, visible, layout, privilege) else {
                throw Violation(description: "a forbidden instruction at offset \(position) of \(text(block))")
            }
            endsInJump = info.mnemonic == ZYDIS_MNEMONIC_JMP
            if info.attributes & UInt64(ZYDIS_ATTRIB_IS_RELATIVE) != 0, let branch = visible.first,
                branch.type == ZYDIS_OPERAND_TYPE_IMMEDIATE
            {
                targets.append(position + Int(info.length) + Int(branch.imm.value.s))
            }
            position += Int(info.length)
        }
        guard endsInJump else { throw Violation(description: "runs off its end: \(text(block))") }
        for target in targets where !boundaries.contains(target) {
            throw Violation(description: "branches to offset \(target), between instructions: \(text(block))")
        }
        guard boundaries.contains(block.directEntry), boundaries.contains(block.indirectEntry) else {
            throw Violation(description: "is entered between instructions: \(text(block))")
        }
        for exit in block.exits {
            guard boundaries.contains(exit.stubOffset), exit.displacementOffset + 4 <= block.code.count,
                exit.identifierOffset > exit.stubOffset, exit.identifierOffset + 4 <= block.code.count,
                exit.displacementOffset + 4 + Int(rel32(block.code, exit.displacementOffset)) == exit.stubOffset
            else { throw Violation(description: "an exit does not lead to its stub: \(text(block))") }
        }
        // The guest's instructions must be in the map at their host instructions' beginnings.
        for entry in block.map where !boundaries.contains(Int(entry.hostOffset)) {
            throw Violation(description: "a map entry between instructions: \(text(block))")
        }
    }

    private static func checkMap(_ block: TranslatedBlock) throws(Violation) {
        guard let first = block.map.first, first.hostOffset == 0 else {
            throw Violation(description: "the map does not begin with the code")
        }
        for (one, next) in zip(block.map, block.map.dropFirst()) where one.hostOffset >= next.hostOffset {
            throw Violation(description: "the map is not in order")
        }
    }

    private static func rel32(_ code: [UInt8], _ offset: Int) -> Int32 {
        Int32(bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(code[offset + $1]) << (8 * UInt32($1)) })
    }

    private static func allowed(
        _ info: ZydisDecodedInstruction, _ operands: ArraySlice<ZydisDecodedOperand>, _ layout: VCPULayout,
        _ privilege: TranslationOptions.Privilege
    ) -> Bool {
        if forbidden.contains(info.mnemonic.rawValue),
            privilege == .supervisor || !ownStack.contains(info.mnemonic.rawValue)
        {
            return false
        }
        if info.attributes & UInt64(ZYDIS_ATTRIB_IS_PRIVILEGED) != 0 { return false }
        if info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR { return false }
        for operand in operands {
            if operand.type == ZYDIS_OPERAND_TYPE_REGISTER, ZydisRegisterGetClass(operand.reg.value) == segmentClass {
                return false
            }
            if operand.type == ZYDIS_OPERAND_TYPE_MEMORY, !allowed(operand, info, layout, privilege) { return false }
        }
        // The only branches through a register or memory are those through the vCPU structure.
        if info.mnemonic == ZYDIS_MNEMONIC_JMP, let target = operands.first {
            return target.type == ZYDIS_OPERAND_TYPE_IMMEDIATE
                || (target.type == ZYDIS_OPERAND_TYPE_MEMORY && target.mem.segment == ZYDIS_REGISTER_GS)
        }
        return true
    }

    private static let segmentClass = ZYDIS_REGCLASS_SEGMENT

    private static func allowed(
        _ operand: ZydisDecodedOperand, _ info: ZydisDecodedInstruction, _ layout: VCPULayout,
        _ privilege: TranslationOptions.Privilege
    ) -> Bool {
        let memory = operand.mem
        if memory.type == ZYDIS_MEMOP_TYPE_AGEN || info.mnemonic == ZYDIS_MNEMONIC_NOP { return true }
        switch memory.segment {
        case ZYDIS_REGISTER_FS: return true
        case ZYDIS_REGISTER_GS:
            guard memory.base == ZYDIS_REGISTER_NONE else { return false }
            let displacement = memory.disp.value
            if memory.index != ZYDIS_REGISTER_NONE {
                // The table of indirect branches: MOVZX has left RDX below 65,536.
                return info.mnemonic == ZYDIS_MNEMONIC_JMP && memory.index == ZYDIS_REGISTER_RDX
                    && memory.scale == 8 && displacement == Int64(layout.indirectTable)
            }
            let isWrite = UInt32(operand.actions) & ZYDIS_OPERAND_ACTION_MASK_WRITE.rawValue != 0
            if isWrite && [layout.exitStub, layout.missStub].contains(where: { Int64($0) == displacement }) {
                return false
            }
            return displacement >= 0 && displacement < Int64(layout.indirectTable)
        default:
            // String instructions, on relocated registers; their other operand takes the prefix.
            return privilege == .user || info.meta.category == ZYDIS_CATEGORY_STRINGOP
        }
    }

    private static func text(_ block: TranslatedBlock) -> String {
        block.code.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
