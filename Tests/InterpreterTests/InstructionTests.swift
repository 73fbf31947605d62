import CZydis
import MachineTesting
import Testing

@testable import Interpreter

/// The CPU is the referee: random 32-bit instructions give the same registers, flags and memory interpreted and run natively in
/// compatibility mode.
@Suite(.serialized) struct InstructionTests {
    /// SplitMix64 (Steele, Lea & Flood, OOPSLA 2014), seeded: the same instructions in every run.
    private struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var word = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
            word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
            return word ^ (word >> 31)
        }
    }

    /// What a program may not do, what depends on more than the state compared, and what leaves the code's page.
    private static let excluded: Set<Operation> = [
        .hlt, .cli, .sti, .in, .out, .ins, .outs, .lgdt, .lidt, .sgdt, .sidt, .lldt, .sldt, .ltr, .str, .lmsw, .smsw,
        .clts, .invlpg, .rdmsr, .wrmsr, .rdtsc, .rdtscp, .cpuid, .fninit, .lar, .lsl, .verr, .verw, .cacheControl,
        .iret, .int, .int3, .into, .undefined, .ret, .loadFarPointer, .pushFlags, .popFlags,
    ]

    private struct Case {
        var bytes: [UInt8]
        var registers: [UInt32]
        var flags: UInt32
        var undefinedFlags: UInt32
        var operation: Operation
        var text: String
    }

    private static let data = (0..<NativeCode.dataBytes).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ $0 >> 8) }
    private static let compared: UInt32 = 0xCD5

    private func randomCase(
        _ generator: inout Generator, _ decoder: Decoder, _ zydis: inout ZydisDecoder, _ native: NativeCode
    ) -> Case? {
        var bytes = (0..<15).map { _ in UInt8.random(in: 0...255, using: &generator) }
        switch generator.next() % 9 {
        case 0, 1, 2: bytes[0] = 0x0F
        case 3: bytes[0] = 0x66
        case 4:
            bytes[0] = 0x66
            bytes[1] = 0x0F
        case 5: bytes[0] = generator.next() & 1 == 0 ? 0xF3 : 0xF2
        case 6:
            // TZCNT, LZCNT, POPCNT are here.
            bytes[0] = 0xF3
            bytes[1] = 0x0F
            bytes[2] = 0xB8 | bytes[2] & 7
        default: break
        }
        var info = ZydisDecodedInstruction()
        guard ZydisDecoderDecodeInstruction(&zydis, nil, bytes, 15, &info) & 0x8000_0000 == 0 else { return nil }
        bytes = Array(bytes[0..<Int(info.length)])
        if info.raw.disp.size == 32 {
            let start = Int(info.raw.disp.offset)
            // Small displacements; absolute addresses in the data.
            bytes[start + 1] &= 0x0F
            let isAbsolute = info.raw.modrm.mod == 0 && info.raw.modrm.rm == 5 || info.raw.modrm.offset == 0
            bytes[start + 2] = isAbsolute ? 0x01 : 0
            bytes[start + 3] = isAbsolute ? 0x10 : 0
        }
        if info.meta.branch_type.rawValue != 0, info.raw.imm.0.is_relative != 0 {
            let start = Int(info.raw.imm.0.offset)
            bytes[start] = UInt8(NativeCode.takenOffset) &- info.length
            for index in start + 1..<max(start + 1, bytes.count) { bytes[index] = 0 }
        }
        guard let instruction = bytes.withUnsafeBufferPointer({ try? decoder.decode($0, .legacy32) }),
            !Self.excluded.contains(instruction.operation), !instruction.isFar
        else { return nil }
        // 0F 0D with a register: a NOP to the decoder and some CPUs, undefined to others.
        if instruction.operation == .nop && info.opcode == 0x0D { return nil }
        // Indirect branches would leave the code's page; REP in front of LOOPcc is reserved, and CPUs invert the condition.
        if [.jmp, .call].contains(instruction.operation), instruction.first.kind != .relative { return nil }
        if [.loope, .loopne].contains(instruction.operation), bytes.contains(0xF2) || bytes.contains(0xF3) {
            return nil
        }
        // A 16-bit branch leaves the code's page.
        if info.meta.branch_type.rawValue != 0, instruction.width == 2 { return nil }
        let operands = [instruction.first, instruction.second, instruction.third]
        guard !operands.contains(where: { $0.kind == .segment || $0.kind == .control || $0.kind == .debug }) else {
            return nil
        }
        guard instruction.sourceSegment < 4 else { return nil }
        let middle = UInt32(NativeCode.data) + UInt32(NativeCode.dataBytes / 2)
        var registers = (0..<8).map { number -> UInt32 in
            switch generator.next() % 4 {
            case _ where number == 4 || number == 5: middle + UInt32(generator.next() % 8192)
            case 0, 1: middle + UInt32(generator.next() % 8192)
            case 2: UInt32(truncatingIfNeeded: generator.next())
            default: UInt32(generator.next() % 40)
            }
        }
        if instruction.repeats != .none { registers[1] = UInt32(generator.next() % 20) }
        if [.movs, .cmps, .scas, .stos, .lods].contains(instruction.operation) {
            guard instruction.addressWidth == 4 else { return nil }
            registers[6] = middle + UInt32(generator.next() % 8192)
            registers[7] = middle + UInt32(generator.next() % 8192)
        }
        if instruction.operation == .xlat {
            guard instruction.addressWidth == 4 else { return nil }
            registers[3] = middle
        }
        if [.shld, .shrd].contains(instruction.operation), instruction.width == 2 {
            // Result and flags are undefined for counts above the operand's width.
            let count = instruction.third.kind == .immediate ? UInt32(instruction.third.value) : registers[1]
            guard count & 31 <= 16 else { return nil }
        }
        if [.enter, .leave].contains(instruction.operation) && instruction.width == 2 { return nil }
        let interpreter = native.processor(registers, flags: 2)
        for operand in operands where operand.kind == .memory && instruction.operation != .lea {
            let offset = interpreter.effectiveAddress(operand, instruction.addressWidth)
            guard operand.segment < 4, operand.segment != 1 || instruction.operation != .mov,
                offset >= NativeCode.data + 64, offset < NativeCode.data + UInt64(NativeCode.dataBytes - 64)
            else { return nil }
        }
        if [.bt, .bts, .btr, .btc].contains(instruction.operation), instruction.first.kind == .memory,
            instruction.second.kind == .register
        {
            // The bit offset reaches 256 MiB either way: keep it near.
            guard registers[Int(instruction.second.register)] < 0x1000 || instruction.second.size == 2 else {
                return nil
            }
        }
        if info.attributes & UInt64(ZYDIS_ATTRIB_HAS_SEGMENT_CS) != 0 { return nil }
        return Case(
            bytes: bytes, registers: registers, flags: UInt32(truncatingIfNeeded: generator.next()) & Self.compared,
            undefinedFlags: info.cpu_flags == nil ? 0 : info.cpu_flags.pointee.undefined,
            operation: instruction.operation, text: text(bytes))
    }

    private func text(_ bytes: [UInt8]) -> String {
        var disassembled = ZydisDisassembledInstruction()
        ZydisDisassembleIntel(
            ZYDIS_MACHINE_MODE_LEGACY_32, NativeCode.code, bytes, ZyanUSize(bytes.count), &disassembled)
        let name = withUnsafeBytes(of: &disassembled.text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        return name + " [" + bytes.map { String($0, radix: 16) }.joined(separator: " ") + "]"
    }

    /// Interprets to the end of the instruction. Nil: it raised an exception.
    private func interpret(_ test: Case, _ native: NativeCode) -> NativeCode.Result? {
        let interpreter = native.processor(test.registers, flags: test.flags)
        repeat {
            switch interpreter.single() {
            case .success(let event):
                if case .unsupported(let what)? = event {
                    Issue.record("\(test.text): \(what)")
                    return nil
                }
            case .failure: return nil
            }
        } while interpreter.rip == NativeCode.code
        return native.result(interpreter)
    }

    @Test func randomInstructionsBehaveAsOnTheCPU() {
        // Low addresses are also those of the software VMM's guests.
        ExclusiveProcess.run { compareRandomInstructions(NativeCode()) }
    }

    private func compareRandomInstructions(_ native: NativeCode) {
        var generator = Generator(state: 20_251_123)
        let decoder = Decoder()
        var zydis = ZydisDecoder()
        ZydisDecoderInit(&zydis, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32)
        var operations: Set<Operation> = []
        var compared = 0
        var failures = 0
        while compared < 6_000 && failures < 10 {
            guard let test = randomCase(&generator, decoder, &zydis, native) else { continue }
            native.prepare(test.bytes, data: Self.data)
            // Exceptions (divisions, bit strings out of range) would end this process: the CPU is not asked.
            guard var mine = interpret(test, native) else { continue }
            native.prepare(test.bytes, data: Self.data)
            var cpus = native.runNatively(test.registers, flags: test.flags)
            compared += 1
            operations.insert(test.operation)
            let defined = Self.compared & ~test.undefinedFlags
            mine.flags &= defined
            cpus.flags &= defined
            if mine != cpus {
                failures += 1
                Issue.record(
                    """
                    \(test.text), before \(test.registers.map { String($0, radix: 16) }) flags \(String(test.flags, radix: 16))
                    interpreted \(mine.registers.map { String($0, radix: 16) }) flags \(String(mine.flags, radix: 16)) taken \(mine.taken)
                    natively    \(cpus.registers.map { String($0, radix: 16) }) flags \(String(cpus.flags, radix: 16)) taken \(cpus.taken)
                    memory \(mine.data == cpus.data ? "same" : "differs")
                    """)
            }
        }
        let all: Set<Operation> = [
            .mov, .movzx, .movsx, .lea, .xchg, .push, .pop, .pushAll, .popAll, .lahf, .sahf, .signExtendA,
            .signExtendAD, .bswap, .xlat, .cmov, .set, .add, .adc, .sub, .sbb, .and, .or, .xor, .cmp, .test, .inc,
            .dec, .neg, .not, .mul, .imul, .div, .idiv, .shl, .shr, .sar, .rol, .ror, .rcl, .rcr, .shld, .shrd, .bt,
            .bts, .btr, .btc, .bsf, .bsr, .tzcnt, .lzcnt, .popcnt, .xadd, .cmpxchg, .cmpxchg8b, .aaa, .aas, .aam,
            .aad, .daa, .das, .jmp, .jcc, .jcxz, .loop, .loope, .loopne, .call, .enter, .leave, .nop, .cld, .std,
            .clc, .stc, .cmc, .movs, .cmps, .scas, .stos, .lods,
        ]
        #expect(all.subtracting(operations).isEmpty, "never generated: \(all.subtracting(operations))")
    }
}
