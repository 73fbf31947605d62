import CZydis
import MachineTesting
import Testing
import Translator

/// The CPU is the referee: random instructions give the same registers, flags, memory and faults natively and translated.
@Suite(.serialized) struct DifferentialTests {
    /// xoshiro256** (Blackman & Vigna), seeded: the same instructions in every run.
    struct Generator: RandomNumberGenerator {
        var state: (UInt64, UInt64, UInt64, UInt64)
        init(seed: UInt64) { state = (seed | 1, seed &* 0x9E37_79B9_7F4A_7C15 | 1, ~seed, 0x2545_F491_4F6C_DD1D) }
        mutating func next() -> UInt64 {
            func rotate(_ value: UInt64, _ bits: UInt64) -> UInt64 { value << bits | value >> (64 - bits) }
            let result = rotate(state.1 &* 5, 7) &* 9
            let shifted = state.1 << 17
            state.2 ^= state.0
            state.3 ^= state.1
            state.1 ^= state.2
            state.0 ^= state.3
            state.2 ^= shifted
            state.3 = rotate(state.3, 45)
            return result
        }
    }

    /// Instructions whose result is not a function of the state compared, or that a program may not run.
    private static let excluded: Set<UInt32> = Set(
        [
            ZYDIS_MNEMONIC_RDTSC, ZYDIS_MNEMONIC_RDTSCP, ZYDIS_MNEMONIC_RDRAND, ZYDIS_MNEMONIC_RDSEED,
            ZYDIS_MNEMONIC_XSAVE, ZYDIS_MNEMONIC_XSAVE64, ZYDIS_MNEMONIC_XSAVEC, ZYDIS_MNEMONIC_XSAVEC64,
            ZYDIS_MNEMONIC_XSAVEOPT, ZYDIS_MNEMONIC_XSAVEOPT64, ZYDIS_MNEMONIC_XRSTOR, ZYDIS_MNEMONIC_XRSTOR64,
            ZYDIS_MNEMONIC_FXSAVE, ZYDIS_MNEMONIC_FXSAVE64, ZYDIS_MNEMONIC_FXRSTOR, ZYDIS_MNEMONIC_FXRSTOR64,
            ZYDIS_MNEMONIC_FNSAVE, ZYDIS_MNEMONIC_FNSTENV, ZYDIS_MNEMONIC_FLDENV, ZYDIS_MNEMONIC_FRSTOR,
            ZYDIS_MNEMONIC_WRFSBASE, ZYDIS_MNEMONIC_WRGSBASE, ZYDIS_MNEMONIC_CLI,
        ].map(\.rawValue))

    /// An instruction from random bytes that the translator does not hand to the VMM, with operands that mostly hit the data.
    private func randomInstruction(_ generator: inout Generator, _ decoder: inout ZydisDecoder) -> [UInt8]? {
        var bytes = (0..<15).map { _ in UInt8.random(in: 0...255, using: &generator) }
        // Half of them in the two-byte map or behind a REX prefix, where most of the instruction set is.
        switch generator.next() % 6 {
        case 0: bytes[0] = 0x0F
        case 1: bytes[0] = UInt8(0x40 + generator.next() % 16)
        case 2:
            bytes[0] = UInt8(0x48 + generator.next() % 8)
            bytes[1] = 0x0F
        case 3: bytes[0] = ([0xF3, 0xF2, 0x66, 0x64, 0x65, 0xC5, 0xC4] as [UInt8])[Int(generator.next() % 7)]
        default: break
        }
        var info = ZydisDecodedInstruction()
        guard ZydisDecoderDecodeInstruction(&decoder, nil, bytes, 15, &info) & 0x8000_0000 == 0 else { return nil }
        if info.raw.disp.size == 32 {
            let start = Int(info.raw.disp.offset)
            bytes[start + 1] &= 0x0F
            bytes[start + 2] = 0
            bytes[start + 3] = 0
        }
        guard !Self.excluded.contains(info.mnemonic.rawValue),
            info.attributes & UInt64(ZYDIS_ATTRIB_IS_PRIVILEGED) == 0
        else { return nil }
        return Array(bytes[0..<Int(info.length)])
    }

    /// Byte `i` of the data, a pattern that makes aligned words canonical addresses.
    private static let data = (0..<DifferentialHarness.dataBytes).map {
        $0 & 7 > 4 ? 0 : UInt8(truncatingIfNeeded: $0 &* 167 &+ $0 >> 8)
    }

    private func randomInput(_ instruction: [UInt8], _ generator: inout Generator) -> DifferentialHarness.Input {
        let middle = DifferentialHarness.dataAddress + UInt64(DifferentialHarness.dataBytes / 2)
        // Pointers into the data, small numbers, and now and then anything below 2^40 (so nothing of the process is hit).
        let registers = (0..<16).map { index -> UInt64 in
            switch generator.next() % 10 {
            case _ where index == 4, 0...5: middle + (generator.next() % 8192 & ~7)
            case 6...8: generator.next() % 512
            default: generator.next() >> 24
            }
        }
        var vector = [UInt8](repeating: 0, count: 832)
        for index in 160..<416 { vector[index] = UInt8.random(in: 0...255, using: &generator) }
        for index in 576..<832 { vector[index] = UInt8.random(in: 0...255, using: &generator) }
        vector[0] = 0x7F
        vector[1] = 0x03
        vector[24] = 0x80
        vector[25] = 0x1F
        vector[512] = 0b110
        return DifferentialHarness.Input(
            instruction: instruction, registers: registers, flags: generator.next(),
            data: Self.data,
            vector: vector, fsBase: 0x100, gsBase: 0x40)
    }

    private func text(_ bytes: [UInt8]) -> String {
        var disassembled = ZydisDisassembledInstruction()
        ZydisDisassembleIntel(
            ZYDIS_MACHINE_MODE_LONG_64, DifferentialHarness.codeAddress, bytes, ZyanUSize(bytes.count), &disassembled)
        let name = withUnsafeBytes(of: &disassembled.text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        return name + " [" + bytes.map { String($0, radix: 16) }.joined(separator: " ") + "]"
    }

    @Test func randomInstructionsBehaveAsOnTheCPU() throws {
        try ExclusiveProcess.run { try compareRandomInstructions() }
    }

    private func compareRandomInstructions() throws {
        let harness = DifferentialHarness()
        var generator = Generator(seed: 20_061_021)
        var decoder = ZydisDecoder()
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)
        var compared = 0
        var mnemonics: Set<UInt32> = []
        var failures = 0
        while compared < 3000 && failures < 10 {
            guard let instruction = randomInstruction(&generator, &decoder) else { continue }
            let input = randomInput(instruction, &generator)
            let (translated, translatedData) = try harness.runTranslated(input)
            // The VMM carries it out: nothing of the translator's to compare.
            if translated.trap == nil && translated.rip == DifferentialHarness.codeAddress { continue }
            let (native, nativeData) = harness.runNative(input)
            // A branch to a non-canonical address faults on the CPU where it is; the VMM notices at the target.
            if native.trap == 13, Int64(bitPattern: translated.rip) >> 47 != 0,
                Int64(bitPattern: translated.rip) >> 47 != -1
            {
                continue
            }
            compared += 1
            var info = ZydisDecodedInstruction()
            _ = ZydisDecoderDecodeInstruction(&decoder, nil, instruction, ZyanUSize(instruction.count), &info)
            mnemonics.insert(info.mnemonic.rawValue)
            if native != translated || nativeData != translatedData {
                failures += 1
                Issue.record(
                    """
                    \(text(instruction))
                    native     rip \(String(native.rip, radix: 16)) trap \(String(describing: native.trap)) at \(String(native.address ?? 0, radix: 16)) flags \(String(native.flags, radix: 16)) \(native.registers.map { String($0, radix: 16) })
                    translated rip \(String(translated.rip, radix: 16)) trap \(String(describing: translated.trap)) at \(String(translated.address ?? 0, radix: 16)) flags \(String(translated.flags, radix: 16)) \(translated.registers.map { String($0, radix: 16) })
                    vectors \(native.vector == translated.vector ? "same" : "differ"), memory \(nativeData == translatedData ? "same" : "differs")
                    """)
            }
        }
        #expect(mnemonics.count > 200, "the generator reaches \(mnemonics.count) mnemonics")
    }
}
