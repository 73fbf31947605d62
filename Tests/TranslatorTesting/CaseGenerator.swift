import CZydis

/// Makes cases: sequences of one to twelve instructions of random classes, with jumps forward, calls with their returns,
/// and operands that mostly, but not always, hit the data.
public struct CaseGenerator {
    public let classes: [InstructionClass]
    private var random: SeededGenerator
    private var decoder = ZydisDecoder()
    private var operands = [ZydisDecodedOperand](repeating: ZydisDecodedOperand(), count: Int(ZYDIS_MAX_OPERAND_COUNT))

    // The case being made.
    private var layout = TestLayout.low
    private var code: [UInt8] = []
    /// What is known of the general-purpose registers at this point.
    private var known: [UInt64?] = []

    /// Instructions whose effect is not a function of the state compared, or that a program may not try on the host.
    private static let excluded: Set<UInt32> = Set(
        [
            // Time, chance, the processor's number, what changes behind our back.
            ZYDIS_MNEMONIC_RDTSC, ZYDIS_MNEMONIC_RDTSCP, ZYDIS_MNEMONIC_RDRAND, ZYDIS_MNEMONIC_RDSEED,
            ZYDIS_MNEMONIC_RDPMC,
            ZYDIS_MNEMONIC_RDPRU, ZYDIS_MNEMONIC_RDPID, ZYDIS_MNEMONIC_CPUID, ZYDIS_MNEMONIC_MWAITX,
            ZYDIS_MNEMONIC_MWAIT,
            ZYDIS_MNEMONIC_MONITOR, ZYDIS_MNEMONIC_MONITORX, ZYDIS_MNEMONIC_TPAUSE, ZYDIS_MNEMONIC_UMWAIT,
            ZYDIS_MNEMONIC_UMONITOR, ZYDIS_MNEMONIC_XBEGIN, ZYDIS_MNEMONIC_XABORT, ZYDIS_MNEMONIC_XGETBV,
            // System calls, traps that look like a step, and flags that change how we step.
            ZYDIS_MNEMONIC_SYSCALL, ZYDIS_MNEMONIC_SYSENTER, ZYDIS_MNEMONIC_SYSEXIT, ZYDIS_MNEMONIC_SYSRET,
            ZYDIS_MNEMONIC_INT, ZYDIS_MNEMONIC_INT1, ZYDIS_MNEMONIC_INT3, ZYDIS_MNEMONIC_IRET, ZYDIS_MNEMONIC_IRETD,
            ZYDIS_MNEMONIC_IRETQ, ZYDIS_MNEMONIC_UIRET, ZYDIS_MNEMONIC_PUSHF, ZYDIS_MNEMONIC_PUSHFD,
            ZYDIS_MNEMONIC_PUSHFQ, ZYDIS_MNEMONIC_POPF, ZYDIS_MNEMONIC_POPFD, ZYDIS_MNEMONIC_POPFQ,
            ZYDIS_MNEMONIC_SENDUIPI, ZYDIS_MNEMONIC_ENQCMD, ZYDIS_MNEMONIC_ENQCMDS,
            // They differ between ring 0 and ring 3 by nature.
            ZYDIS_MNEMONIC_CLI, ZYDIS_MNEMONIC_STI, ZYDIS_MNEMONIC_SGDT, ZYDIS_MNEMONIC_SIDT, ZYDIS_MNEMONIC_SLDT,
            ZYDIS_MNEMONIC_STR, ZYDIS_MNEMONIC_SMSW, ZYDIS_MNEMONIC_LSS, ZYDIS_MNEMONIC_LFS, ZYDIS_MNEMONIC_LGS,
            // The host's hypervisor would answer.
            ZYDIS_MNEMONIC_VMCALL, ZYDIS_MNEMONIC_VMMCALL,
            ZYDIS_MNEMONIC_HLT, ZYDIS_MNEMONIC_WRPKRU, ZYDIS_MNEMONIC_RDPKRU,
            // State images hold what the signal frames of stepping change (XSTATE_BV, x87 pointers).
            ZYDIS_MNEMONIC_XSAVE, ZYDIS_MNEMONIC_XSAVE64, ZYDIS_MNEMONIC_XSAVEC, ZYDIS_MNEMONIC_XSAVEC64,
            ZYDIS_MNEMONIC_XSAVEOPT, ZYDIS_MNEMONIC_XSAVEOPT64, ZYDIS_MNEMONIC_FXSAVE, ZYDIS_MNEMONIC_FXSAVE64,
            ZYDIS_MNEMONIC_FNSAVE, ZYDIS_MNEMONIC_FNSTENV,
        ].map(\.rawValue))

    public init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)
        // Bytes of vector state beyond AVX's mean AVX-512.
        classes = InstructionClass.all(evex: VectorImage.bytes > 832).filter { !Self.excluded.contains($0.mnemonic) }
    }

    // MARK: Cases

    /// A case with an instruction of `subject`, alone or among others. Nil when none was found that can be compared.
    public mutating func next(_ subject: InstructionClass, companions: Int) -> TestCase? {
        layout = random.pick(TestLayout.all)
        let seed = random.next() >> 32
        code = []
        known = InitialState(layout, seed: seed).state.registers
        let place = random.below(companions + 1)
        // A function to call, jumped over: now and then.
        var function: Int?
        if companions > 2 && random.chance(30) {
            let jump = code.count
            code += [0xEB, 0]
            function = code.count
            let before = known
            for _ in 0...random.below(2) { append(random.pick(classes)) }
            code += random.chance(80) ? [0xC3] : [0xC2, 8, 0]
            code[jump + 1] = UInt8(truncatingIfNeeded: code.count - jump - 2)
            known = before
        }
        for index in 0...companions {
            if index == place {
                guard append(subject) else { return nil }
            } else {
                companion(function)
            }
        }
        return TestCase(layout: layout, seed: seed, code: code)
    }

    private mutating func companion(_ function: Int?) {
        switch random.below(100) {
        case 0..<12:
            // A conditional jump forward, over one instruction or to the end.
            let start = code.count
            let opcode = random.chance(85) ? 0x70 | UInt8(random.below(16)) : 0xE0 | UInt8(random.below(4))
            let isNear = opcode & 0xF0 == 0x70 && random.chance(30)
            if isNear { code += [0x0F, 0x80 | opcode & 15, 0, 0, 0, 0] } else { code += [opcode, 0] }
            let end = code.count
            let before = known
            append(random.pick(classes))
            if opcode & 0xF0 == 0xE0 { known[1] = nil }
            for register in 0..<16 where known[register] != before[register] { known[register] = nil }
            code[start + (isNear ? 2 : 1)] = UInt8(truncatingIfNeeded: code.count - end)
        case 12..<22:
            guard let function else {
                append(random.pick(classes))
                return
            }
            call(function)
        case 22..<30:
            let register = UInt8(random.below(8))
            append([0x50 | register])
            if random.chance(70) { append([0x58 | UInt8(random.below(8))]) }
        case 30..<34:
            // A jump through a register to the next instruction but one.
            let register = random.pick([0, 1, 2, 3, 6, 7] as [UInt8])
            let start = code.count
            code += [0x48, 0xB8 | register] + [UInt8](repeating: 0, count: 8) + [0xFF, 0xE0 | register, 0xF4]
            let target = layout.code + UInt64(code.count)
            for byte in 0..<8 { code[start + 2 + byte] = UInt8(truncatingIfNeeded: target >> (8 * UInt64(byte))) }
            known[Int(register)] = target
        default:
            append(random.pick(classes))
        }
    }

    private mutating func call(_ function: Int) {
        switch random.below(3) {
        case 0:
            let register = random.pick([0, 3, 5, 6] as [UInt8])
            load(Int(register), layout.code + UInt64(function))
            code += [0xFF, 0xD0 | register]
        default:
            let displacement = Int32(function - code.count - 5)
            code.append(0xE8)
            for byte in 0..<4 { code.append(UInt8(truncatingIfNeeded: displacement >> (8 * Int32(byte)))) }
        }
        for register in 0..<16 where register != 4 { known[register] = nil }
    }

    // MARK: Instructions

    /// `mov register, value`
    private mutating func load(_ register: Int, _ value: UInt64) {
        code += [register > 7 ? 0x49 : 0x48, 0xB8 | UInt8(register & 7)]
        for byte in 0..<8 { code.append(UInt8(truncatingIfNeeded: value >> (8 * UInt64(byte)))) }
        known[register] = value
    }

    private mutating func append(_ bytes: [UInt8]) {
        forgetWritten(by: bytes)
        code += bytes
    }

    private func isInData(_ address: UInt64) -> Bool { address &- layout.data < UInt64(TestLayout.dataBytes) }

    private mutating func somewhereInData() -> UInt64 {
        layout.data + 1024 + random.next() % UInt64(TestLayout.dataBytes - 2048) & ~(random.chance(80) ? 31 : 0)
    }

    /// An instruction of this class, with what it takes in front of it to reach the data. False: none was found.
    @discardableResult
    private mutating func append(_ subject: InstructionClass) -> Bool {
        guard let bytes = instance(of: subject), let info = decode(bytes) else { return false }
        // Implicit addresses and counts.
        let wild = random.chance(10)
        if info.meta.category == ZYDIS_CATEGORY_STRINGOP || info.meta.category == ZYDIS_CATEGORY_IOSTRINGOP {
            for register in [6, 7] where !wild && !(known[register].map(isInData) ?? false) {
                load(register, somewhereInData())
            }
            // Also when it goes wild: a large count makes a trace too long to look at.
            if known[1].map({ $0 > 20 }) ?? true { load(1, random.next() % 12) }
        }
        if !wild, !(known[4].map(isInData) ?? false) { load(4, somewhereInData() & ~7) }
        if !wild {
            for operand in operands[..<Int(info.operand_count)]
            where operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.encoding == ZYDIS_OPERAND_ENCODING_NONE
                && operand.mem.base != ZYDIS_REGISTER_NONE
            {
                let base = Int(ZydisRegisterGetId(operand.mem.base))
                if base < 16, base != 4, !(known[base].map(isInData) ?? false) { load(base, somewhereInData()) }
            }
        }
        code += fittedBranch(bytes, info)
        forgetWritten(by: bytes)
        return true
    }

    /// Relative branches go to where the case ends, not into the middle of an instruction.
    private func fittedBranch(_ bytes: [UInt8], _ info: ZydisDecodedInstruction) -> [UInt8] {
        guard info.attributes & UInt64(ZYDIS_ATTRIB_IS_RELATIVE) != 0, info.raw.imm.0.size > 0 else { return bytes }
        var bytes = bytes
        let offset = Int(info.raw.imm.0.offset)
        for byte in 0..<Int(info.raw.imm.0.size) / 8 { bytes[offset + byte] = 0 }
        return bytes
    }

    private mutating func decode(_ bytes: [UInt8]) -> ZydisDecodedInstruction? {
        var info = ZydisDecodedInstruction()
        let status = bytes.withUnsafeBytes {
            ZydisDecoderDecodeFull(&decoder, $0.baseAddress, ZyanUSize($0.count), &info, &operands)
        }
        return status & 0x8000_0000 == 0 ? info : nil
    }

    private mutating func forgetWritten(by bytes: [UInt8]) {
        guard let info = decode(bytes) else { return }
        let keepsStack = [
            ZYDIS_CATEGORY_PUSH, ZYDIS_CATEGORY_POP, ZYDIS_CATEGORY_CALL, ZYDIS_CATEGORY_RET,
        ].contains { $0 == info.meta.category }
        for operand in operands[..<Int(info.operand_count)] where operand.type == ZYDIS_OPERAND_TYPE_REGISTER {
            guard UInt32(operand.actions) & ZYDIS_OPERAND_ACTION_MASK_WRITE.rawValue != 0 else { continue }
            let enclosing = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, operand.reg.value)
            guard ZydisRegisterGetClass(enclosing) == ZYDIS_REGCLASS_GPR64 else { continue }
            let number = Int(ZydisRegisterGetId(enclosing))
            if number == 4 && keepsStack && operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN { continue }
            known[number] = nil
        }
    }

    /// Random operands and harmless prefixes for a class; nil when nothing that decodes as the class was found.
    private mutating func instance(of subject: InstructionClass) -> [UInt8]? {
        for attempt in 0..<12 {
            var modrm = subject.modrm
            let plain = attempt > 7
            if subject.hasModRM {
                if !plain { modrm = modrm & 0b1100_0111 | UInt8(random.below(8)) << 3 }
                if !subject.hasMemory {
                    if !plain { modrm = modrm & 0b1111_1000 | UInt8(random.below(8)) }
                }
            }
            var extensions = plain ? 0 : UInt8(random.below(8))
            var tail: [UInt8] = []
            if subject.hasMemory {
                (modrm, tail, extensions) = memoryOperand(modrm, extensions)
            }
            var bytes = subject.head(modrm: modrm)
            let hasModRM = subject.hasModRM
            if !hasModRM { bytes.removeLast() }
            extend(&bytes, subject, extensions, plain)
            if !plain { addPrefixes(&bytes, subject) }
            let isRIPRelative = subject.hasMemory && modrm & 0xC7 == 0x05
            bytes += tail
            let short = bytes.count
            for _ in 0..<15 { bytes.append(random.byte()) }
            guard var info = decode(Array(bytes.prefix(15))) else { continue }
            let length = Int(info.length)
            guard length >= short || !subject.hasMemory, info.mnemonic.rawValue == subject.mnemonic else { continue }
            bytes = Array(bytes.prefix(length))
            if isRIPRelative {
                // The displacement counts from the end of the instruction, which is known now.
                let target = random.chance(90) ? somewhereInData() : layout.code + random.next() % 64
                let next = layout.code + UInt64(code.count + length)
                let displacement = UInt32(truncatingIfNeeded: target &- next)
                let offset = Int(info.raw.disp.offset)
                for byte in 0..<4 {
                    bytes[offset + byte] = UInt8(truncatingIfNeeded: displacement >> (8 * UInt32(byte)))
                }
                guard let again = decode(bytes) else { continue }
                info = again
            }
            guard info.attributes & UInt64(ZYDIS_ATTRIB_IS_PRIVILEGED) == 0 || random.chance(10),
                info.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR, !touchesSegments(info), !readsControlRegister(info)
            else { continue }
            return bytes
        }
        return nil
    }

    /// Ring 0's alone, and inline in translated code.
    private func readsControlRegister(_ info: ZydisDecodedInstruction) -> Bool {
        info.opcode_map == ZYDIS_OPCODE_MAP_0F && info.opcode == 0x20
    }

    private func touchesSegments(_ info: ZydisDecodedInstruction) -> Bool {
        operands.prefix(Int(info.operand_count)).contains {
            $0.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass($0.reg.value) == ZYDIS_REGCLASS_SEGMENT
                && UInt32($0.actions) & ZYDIS_OPERAND_ACTION_MASK_WRITE.rawValue != 0
        }
    }

    /// ModRM, SIB and displacement of a memory operand, and the REX bits it needs (R, X, B in bits 2, 1, 0).
    private mutating func memoryOperand(_ modrm: UInt8, _ extensions: UInt8) -> (UInt8, [UInt8], UInt8) {
        let register = modrm & 0b0011_1000
        func bytes32(_ value: UInt32) -> [UInt8] {
            (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * UInt32($0))) }
        }
        switch random.below(100) {
        case 0..<12:
            // RIP-relative; the displacement comes later.
            return (register | 5, [0, 0, 0, 0], extensions)
        case 12..<18 where layout == .low:
            // An absolute 32-bit address.
            return (register | 4, [0x25] + bytes32(UInt32(truncatingIfNeeded: somewhereInData())), extensions & 4)
        case 18..<22:
            // Anything at all.
            let displacement = UInt32(truncatingIfNeeded: random.next())
            return (0x80 | register | 4, [random.byte()] + bytes32(displacement), extensions)
        default:
            var bases = (0..<16).filter { known[$0].map(isInData) ?? false }
            if bases.isEmpty {
                let base = random.pick([0, 3, 5, 6, 7, 8, 12, 13, 14])
                load(base, somewhereInData())
                bases = [base]
            }
            let base = random.pick(bases)
            let wanted: UInt64 =
                switch random.below(100) {
                case 0..<80: somewhereInData()
                // At the border to the read-only page, at that page's end, in front of the data.
                case 80..<86: layout.data + UInt64(TestLayout.dataBytes) - random.next() % 32
                case 86..<90: layout.data + UInt64(TestLayout.dataBytes + TestLayout.readOnlyBytes) - random.next() % 32
                case 90..<93: layout.data &- random.next() % 32
                default: random.next() >> 28
                }
            var offset = wanted &- known[base]!
            let indices = (0..<16).filter { $0 != 4 && (known[$0] ?? 100) < 64 }
            var extensions = extensions & 4 | UInt8(base >> 3)
            if base & 7 != 4 && (indices.isEmpty || random.chance(50)) {
                return (0x80 | register | UInt8(base & 7), bytes32(UInt32(truncatingIfNeeded: offset)), extensions)
            }
            guard let index = indices.randomElement(using: &random), random.chance(80) else {
                return (
                    0x80 | register | 4, [0x20 | UInt8(base & 7)] + bytes32(UInt32(truncatingIfNeeded: offset)),
                    extensions
                )
            }
            let scale = UInt8(random.below(4))
            offset &-= known[index]! << UInt64(scale)
            extensions |= UInt8(index >> 3) << 1
            return (
                0x80 | register | 4,
                [scale << 6 | UInt8(index & 7) << 3 | UInt8(base & 7)] + bytes32(UInt32(truncatingIfNeeded: offset)),
                extensions
            )
        }
    }

    /// Puts the register extension bits in: REX in front of the opcode, or the inverted bits of VEX and EVEX; also their free fields.
    private mutating func extend(
        _ bytes: inout [UInt8], _ subject: InstructionClass, _ extensions: UInt8, _ plain: Bool
    ) {
        switch subject.encoding {
        case .legacy:
            let at = subject.prefix != 0 ? 1 : 0
            if subject.wide {
                bytes[at] |= extensions
            } else if extensions != 0 || random.chance(20) {
                bytes.insert(0x40 | extensions, at: at)
            }
        case .vex, .xop:
            bytes[1] ^= extensions << 5
            if !plain { bytes[2] = bytes[2] & 0b1000_0111 | UInt8(random.below(16)) << 3 }
            // The short form, where it says the same.
            if subject.encoding == .vex, bytes[1] & 0x7F == 0x61, !subject.wide, random.chance(50) {
                bytes.replaceSubrange(0..<3, with: [0xC5, bytes[1] & 0x80 | bytes[2] & 0x7F])
            }
        case .evex:
            bytes[1] ^= extensions << 5 | (plain ? 0 : UInt8(random.below(2)) << 4)
            guard !plain else { return }
            bytes[2] = bytes[2] & 0b1000_0111 | UInt8(random.below(16)) << 3
            // Masking and zeroing, broadcast, the upper half of the registers.
            bytes[3] = bytes[3] & 0x60 | random.byte() & 0x9F
        }
    }

    /// Segment overrides, address size, LOCK and REP, in any order, where the instruction remains itself.
    private mutating func addPrefixes(_ bytes: inout [UInt8], _ subject: InstructionClass) {
        var prefixes: [UInt8] = []
        if random.chance(14) { prefixes.append(random.pick([0x26, 0x2E, 0x36, 0x3E, 0x64, 0x64, 0x65, 0x65])) }
        if random.chance(4) { prefixes.append(0x67) }
        if subject.encoding == .legacy {
            if subject.hasMemory && random.chance(8) { prefixes.append(0xF0) }
            if subject.prefix & 0xF0 != 0xF0 && random.chance(subject.map == 0 ? 20 : 3) {
                prefixes.append(random.pick([0xF2, 0xF3]))
            }
        }
        bytes.insert(contentsOf: prefixes.shuffled(using: &random), at: 0)
        // A REX that does not count, since another prefix follows it.
        if !prefixes.isEmpty && random.chance(10) { bytes.insert(0x40 | UInt8(random.below(16)), at: 0) }
    }
}
