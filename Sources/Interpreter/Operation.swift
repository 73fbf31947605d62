import CZydis

/// What the interpreter can do. An instruction that is none of these is reported, not guessed at.
enum Operation: UInt8 {
    case mov, movzx, movsx, lea, xchg, push, pop, pushAll, popAll, pushFlags, popFlags, lahf, sahf
    case signExtendA, signExtendAD, bswap, xlat, loadFarPointer, cmov, set
    case add, adc, sub, sbb, and, or, xor, cmp, test, inc, dec, neg, not, mul, imul, div, idiv
    case shl, shr, sar, rol, ror, rcl, rcr, shld, shrd
    case bt, bts, btr, btc, bsf, bsr, tzcnt, lzcnt, popcnt, xadd, cmpxchg, cmpxchg8b
    case aaa, aas, aam, aad, daa, das
    case jmp, jcc, jcxz, loop, loope, loopne, call, ret, iret, int, int3, into, enter, leave
    case nop, hlt, cli, sti, cld, std, clc, stc, cmc, undefined
    case movs, cmps, scas, stos, lods, ins, outs
    case `in`, out, lgdt, lidt, sgdt, sidt, lldt, sldt, ltr, str, lmsw, smsw, clts, invlpg, cacheControl
    case rdmsr, wrmsr, rdtsc, rdtscp, cpuid, fninit, lar, lsl, verr, verw

    static func of(_ info: ZydisDecodedInstruction) -> Operation? {
        switch info.meta.category {
        case ZYDIS_CATEGORY_CMOV: return .cmov
        case ZYDIS_CATEGORY_SETCC: return .set
        default: break
        }
        let isShort = info.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && 0x70...0x7F ~= info.opcode
        let isNear = info.opcode_map == ZYDIS_OPCODE_MAP_0F && 0x80...0x8F ~= info.opcode
        if isShort || isNear { return .jcc }
        return byMnemonic[info.mnemonic.rawValue]
    }

    private static let byMnemonic = Dictionary(
        uniqueKeysWithValues: table.flatMap { operation, mnemonics in mnemonics.map { ($0.rawValue, operation) } })

    private static let table: [(Operation, [ZydisMnemonic])] = [
        (.mov, [ZYDIS_MNEMONIC_MOV, ZYDIS_MNEMONIC_MOVNTI]), (.movzx, [ZYDIS_MNEMONIC_MOVZX]),
        (.movsx, [ZYDIS_MNEMONIC_MOVSX, ZYDIS_MNEMONIC_MOVSXD]), (.lea, [ZYDIS_MNEMONIC_LEA]),
        (.xchg, [ZYDIS_MNEMONIC_XCHG]), (.push, [ZYDIS_MNEMONIC_PUSH]), (.pop, [ZYDIS_MNEMONIC_POP]),
        (.pushAll, [ZYDIS_MNEMONIC_PUSHA, ZYDIS_MNEMONIC_PUSHAD]),
        (.popAll, [ZYDIS_MNEMONIC_POPA, ZYDIS_MNEMONIC_POPAD]),
        (.pushFlags, [ZYDIS_MNEMONIC_PUSHF, ZYDIS_MNEMONIC_PUSHFD, ZYDIS_MNEMONIC_PUSHFQ]),
        (.popFlags, [ZYDIS_MNEMONIC_POPF, ZYDIS_MNEMONIC_POPFD, ZYDIS_MNEMONIC_POPFQ]),
        (.lahf, [ZYDIS_MNEMONIC_LAHF]), (.sahf, [ZYDIS_MNEMONIC_SAHF]),
        (.signExtendA, [ZYDIS_MNEMONIC_CBW, ZYDIS_MNEMONIC_CWDE, ZYDIS_MNEMONIC_CDQE]),
        (.signExtendAD, [ZYDIS_MNEMONIC_CWD, ZYDIS_MNEMONIC_CDQ, ZYDIS_MNEMONIC_CQO]),
        (.bswap, [ZYDIS_MNEMONIC_BSWAP]), (.xlat, [ZYDIS_MNEMONIC_XLAT]),
        (
            .loadFarPointer,
            [
                ZYDIS_MNEMONIC_LES, ZYDIS_MNEMONIC_LDS, ZYDIS_MNEMONIC_LSS, ZYDIS_MNEMONIC_LFS, ZYDIS_MNEMONIC_LGS,
            ]
        ),
        (.add, [ZYDIS_MNEMONIC_ADD]), (.adc, [ZYDIS_MNEMONIC_ADC]), (.sub, [ZYDIS_MNEMONIC_SUB]),
        (.sbb, [ZYDIS_MNEMONIC_SBB]), (.and, [ZYDIS_MNEMONIC_AND]), (.or, [ZYDIS_MNEMONIC_OR]),
        (.xor, [ZYDIS_MNEMONIC_XOR]), (.cmp, [ZYDIS_MNEMONIC_CMP]), (.test, [ZYDIS_MNEMONIC_TEST]),
        (.inc, [ZYDIS_MNEMONIC_INC]), (.dec, [ZYDIS_MNEMONIC_DEC]), (.neg, [ZYDIS_MNEMONIC_NEG]),
        (.not, [ZYDIS_MNEMONIC_NOT]), (.mul, [ZYDIS_MNEMONIC_MUL]), (.imul, [ZYDIS_MNEMONIC_IMUL]),
        (.div, [ZYDIS_MNEMONIC_DIV]), (.idiv, [ZYDIS_MNEMONIC_IDIV]), (.shl, [ZYDIS_MNEMONIC_SHL]),
        (.shr, [ZYDIS_MNEMONIC_SHR]), (.sar, [ZYDIS_MNEMONIC_SAR]), (.rol, [ZYDIS_MNEMONIC_ROL]),
        (.ror, [ZYDIS_MNEMONIC_ROR]), (.rcl, [ZYDIS_MNEMONIC_RCL]), (.rcr, [ZYDIS_MNEMONIC_RCR]),
        (.shld, [ZYDIS_MNEMONIC_SHLD]), (.shrd, [ZYDIS_MNEMONIC_SHRD]), (.bt, [ZYDIS_MNEMONIC_BT]),
        (.bts, [ZYDIS_MNEMONIC_BTS]), (.btr, [ZYDIS_MNEMONIC_BTR]), (.btc, [ZYDIS_MNEMONIC_BTC]),
        (.bsf, [ZYDIS_MNEMONIC_BSF]), (.bsr, [ZYDIS_MNEMONIC_BSR]), (.tzcnt, [ZYDIS_MNEMONIC_TZCNT]),
        (.lzcnt, [ZYDIS_MNEMONIC_LZCNT]), (.popcnt, [ZYDIS_MNEMONIC_POPCNT]), (.xadd, [ZYDIS_MNEMONIC_XADD]),
        (.cmpxchg, [ZYDIS_MNEMONIC_CMPXCHG]), (.cmpxchg8b, [ZYDIS_MNEMONIC_CMPXCHG8B]), (.aaa, [ZYDIS_MNEMONIC_AAA]),
        (.aas, [ZYDIS_MNEMONIC_AAS]), (.aam, [ZYDIS_MNEMONIC_AAM]), (.aad, [ZYDIS_MNEMONIC_AAD]),
        (.daa, [ZYDIS_MNEMONIC_DAA]), (.das, [ZYDIS_MNEMONIC_DAS]), (.jmp, [ZYDIS_MNEMONIC_JMP]),
        (.jcxz, [ZYDIS_MNEMONIC_JCXZ, ZYDIS_MNEMONIC_JECXZ, ZYDIS_MNEMONIC_JRCXZ]), (.loop, [ZYDIS_MNEMONIC_LOOP]),
        (.loope, [ZYDIS_MNEMONIC_LOOPE]), (.loopne, [ZYDIS_MNEMONIC_LOOPNE]), (.call, [ZYDIS_MNEMONIC_CALL]),
        (.ret, [ZYDIS_MNEMONIC_RET]), (.iret, [ZYDIS_MNEMONIC_IRET, ZYDIS_MNEMONIC_IRETD, ZYDIS_MNEMONIC_IRETQ]),
        (.int, [ZYDIS_MNEMONIC_INT]), (.int3, [ZYDIS_MNEMONIC_INT3]), (.into, [ZYDIS_MNEMONIC_INTO]),
        (.enter, [ZYDIS_MNEMONIC_ENTER]), (.leave, [ZYDIS_MNEMONIC_LEAVE]),
        (
            .nop,
            [
                ZYDIS_MNEMONIC_NOP, ZYDIS_MNEMONIC_PAUSE, ZYDIS_MNEMONIC_ENDBR32, ZYDIS_MNEMONIC_ENDBR64,
                ZYDIS_MNEMONIC_MFENCE, ZYDIS_MNEMONIC_LFENCE, ZYDIS_MNEMONIC_SFENCE, ZYDIS_MNEMONIC_PREFETCHNTA,
                ZYDIS_MNEMONIC_PREFETCHT0, ZYDIS_MNEMONIC_PREFETCHT1, ZYDIS_MNEMONIC_PREFETCHT2,
                ZYDIS_MNEMONIC_PREFETCHW,
            ]
        ),
        (.hlt, [ZYDIS_MNEMONIC_HLT]), (.cli, [ZYDIS_MNEMONIC_CLI]), (.sti, [ZYDIS_MNEMONIC_STI]),
        (.cld, [ZYDIS_MNEMONIC_CLD]), (.std, [ZYDIS_MNEMONIC_STD]), (.clc, [ZYDIS_MNEMONIC_CLC]),
        (.stc, [ZYDIS_MNEMONIC_STC]), (.cmc, [ZYDIS_MNEMONIC_CMC]),
        (.undefined, [ZYDIS_MNEMONIC_UD0, ZYDIS_MNEMONIC_UD1, ZYDIS_MNEMONIC_UD2]),
        (.movs, [ZYDIS_MNEMONIC_MOVSB, ZYDIS_MNEMONIC_MOVSW, ZYDIS_MNEMONIC_MOVSD, ZYDIS_MNEMONIC_MOVSQ]),
        (.cmps, [ZYDIS_MNEMONIC_CMPSB, ZYDIS_MNEMONIC_CMPSW, ZYDIS_MNEMONIC_CMPSD, ZYDIS_MNEMONIC_CMPSQ]),
        (.scas, [ZYDIS_MNEMONIC_SCASB, ZYDIS_MNEMONIC_SCASW, ZYDIS_MNEMONIC_SCASD, ZYDIS_MNEMONIC_SCASQ]),
        (.stos, [ZYDIS_MNEMONIC_STOSB, ZYDIS_MNEMONIC_STOSW, ZYDIS_MNEMONIC_STOSD, ZYDIS_MNEMONIC_STOSQ]),
        (.lods, [ZYDIS_MNEMONIC_LODSB, ZYDIS_MNEMONIC_LODSW, ZYDIS_MNEMONIC_LODSD, ZYDIS_MNEMONIC_LODSQ]),
        (.ins, [ZYDIS_MNEMONIC_INSB, ZYDIS_MNEMONIC_INSW, ZYDIS_MNEMONIC_INSD]),
        (.outs, [ZYDIS_MNEMONIC_OUTSB, ZYDIS_MNEMONIC_OUTSW, ZYDIS_MNEMONIC_OUTSD]), (.in, [ZYDIS_MNEMONIC_IN]),
        (.out, [ZYDIS_MNEMONIC_OUT]), (.lgdt, [ZYDIS_MNEMONIC_LGDT]), (.lidt, [ZYDIS_MNEMONIC_LIDT]),
        (.sgdt, [ZYDIS_MNEMONIC_SGDT]), (.sidt, [ZYDIS_MNEMONIC_SIDT]), (.lldt, [ZYDIS_MNEMONIC_LLDT]),
        (.sldt, [ZYDIS_MNEMONIC_SLDT]), (.ltr, [ZYDIS_MNEMONIC_LTR]), (.str, [ZYDIS_MNEMONIC_STR]),
        (.lmsw, [ZYDIS_MNEMONIC_LMSW]), (.smsw, [ZYDIS_MNEMONIC_SMSW]), (.clts, [ZYDIS_MNEMONIC_CLTS]),
        (.invlpg, [ZYDIS_MNEMONIC_INVLPG]),
        (.cacheControl, [ZYDIS_MNEMONIC_WBINVD, ZYDIS_MNEMONIC_INVD, ZYDIS_MNEMONIC_CLFLUSH]),
        (.rdmsr, [ZYDIS_MNEMONIC_RDMSR]), (.wrmsr, [ZYDIS_MNEMONIC_WRMSR]), (.rdtsc, [ZYDIS_MNEMONIC_RDTSC]),
        (.rdtscp, [ZYDIS_MNEMONIC_RDTSCP]), (.cpuid, [ZYDIS_MNEMONIC_CPUID]), (.fninit, [ZYDIS_MNEMONIC_FNINIT]),
        (.lar, [ZYDIS_MNEMONIC_LAR]), (.lsl, [ZYDIS_MNEMONIC_LSL]), (.verr, [ZYDIS_MNEMONIC_VERR]),
        (.verw, [ZYDIS_MNEMONIC_VERW]),
    ]
}
