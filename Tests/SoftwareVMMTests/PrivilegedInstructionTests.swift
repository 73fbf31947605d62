import GuestInterface
import Machine
import MachineTesting
import SoftwareVMM
import SoftwareVMMTesting
import Testing
import TranslatorTesting

/// What ring 0 may do that ring 3 may not, so that the CPU cannot be asked here: expectations are the manuals' (Intel SDM vol. 2
/// unless said otherwise).
@Suite(.serialized, .enabled(if: softwareWorks, "this host lacks what the software VMM builds on"))
struct PrivilegedInstructionTests {
    private let code = TestLayout.low.code
    private let data = TestLayout.low.data
    private static let dataDescriptor: UInt64 = 0x00CF_9300_0000_FFFF

    /// Runs code at `TestLayout.low.code` with RSP in the middle of data that holds `words`.
    private func run(
        _ bytes: [UInt8], flags: UInt64 = 2, words: [UInt64] = [], manner: MachineTester.Manner = .supervisor
    ) throws -> NativeResult {
        try ExclusiveProcess.run {
            let test = TestCase(layout: .low, seed: 3, code: bytes)
            var start = InitialState(.low, seed: 3)
            start.state.registers = [UInt64](repeating: 0, count: 16)
            start.state.registers[4] = data + 0x1000
            start.state.flags = flags
            start.data = [UInt8](repeating: 0, count: TestLayout.dataBytes)
            for (index, word) in words.enumerated() {
                for byte in 0..<8 {
                    start.data[index * 8 + byte] = UInt8(truncatingIfNeeded: word >> (8 * UInt64(byte)))
                }
            }
            return try BareGuest(
                test, start.state, data: start.data, user: manner != .supervisor,
                options: MachineTester.options(manner)
            ).run()
        }
    }

    private func little(_ value: UInt64, _ bytes: Int) -> [UInt8] {
        (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
    }
    /// `[disp32]` as ModRM, SIB and displacement, with `reg` in ModRM.
    private func absolute(_ address: UInt64, _ reg: UInt8) -> [UInt8] { [reg << 3 | 4, 0x25] + little(address, 4) }
    private func word(_ result: NativeResult, at offset: Int, bytes: Int = 8) -> UInt64 {
        (0..<bytes).reduce(0) { $0 | UInt64(result.data[offset + $1]) << (8 * UInt64($1)) }
    }

    @Test func farReturnsTakeTheirOperandSize() throws {
        // push 0x10; push target; retfq / the same by dwords; retf — over a UD2, to HLT
        let wide = try run([0x6A, 0x10, 0x68] + little(code + 11, 4) + [0x48, 0xCB, 0x0F, 0x0B, 0xF4])
        #expect(wide.ending == .halted)
        #expect(wide.state.rip == code + 11)
        #expect(wide.state.registers[4] == data + 0x1000)
        // mov rsp, data; retf 8
        let narrow = try run(
            [0xBC] + little(data, 4) + [0xCA, 8, 0, 0x0F, 0x0B, 0xF4], words: [(code + 10) | 0x10 << 32])
        #expect(narrow.ending == .halted)
        #expect(narrow.state.registers[4] == data + 16)
    }

    @Test func interruptReturnsOfEverySizeRestoreStackAndFlags() throws {
        // iretd
        let dwords = try run(
            [0xBC] + little(data, 4) + [0xCF, 0x0F, 0x0B, 0xF4],
            words: [(code + 8) | 0x10 << 32, 0x0000_00C1 | (data + 0x800) << 32, 0x18])
        #expect(dwords.ending == .halted)
        #expect(dwords.state.registers[4] == data + 0x800)
        #expect(dwords.state.flags == 0xC1)
        // iretq
        let quads = try run(
            [0xBC] + little(data, 4) + [0x48, 0xCF, 0x0F, 0x0B, 0xF4], words: [code + 9, 0x10, 0x4, data + 0x900, 0x18])
        #expect(quads.ending == .halted)
        #expect(quads.state.registers[4] == data + 0x900)
        #expect(quads.state.flags == 4)
        // A null CS is refused.
        let null = try run([0xBC] + little(data, 4) + [0x48, 0xCF], words: [code + 9, 0, 2, data + 0x900, 0x18])
        #expect(null.ending == .trap(13, error: 0, address: 0))
        // So is a selector beyond the table, by name.
        let beyond = try run([0xBC] + little(data, 4) + [0x48, 0xCF], words: [code + 9, 0x88, 2, data + 0x900, 0x18])
        #expect(beyond.ending == .trap(13, error: 0x88, address: 0))
    }

    @Test func farCallsAndJumpsGoThroughMemory() throws {
        // call far [data]; at the target: HLT
        let call = try run([0xFF] + absolute(data, 3) + [0x0F, 0x0B, 0xF4], words: [(code + 9) | 0x10 << 32])
        #expect(call.ending == .halted)
        #expect(call.state.registers[4] == data + 0x1000 - 8)
        #expect(word(call, at: 0x1000 - 8) == (code + 7) | 0x10 << 32)
        let jump = try run([0xFF] + absolute(data, 5) + [0x0F, 0x0B, 0xF4], words: [(code + 9) | 0x10 << 32])
        #expect(jump.ending == .halted)
        #expect(jump.state.registers[4] == data + 0x1000)
        // Data is no code.
        let wrong = try run([0xFF] + absolute(data, 5), words: [(code + 9) | 0x18 << 32])
        #expect(wrong.ending == .trap(13, error: 0x18, address: 0))
    }

    @Test func segmentLoadsAreCheckedAndReadBack() throws {
        // mov eax, 0x18; mov ds, eax; mov ecx, ds; mov [data], ds
        let load = try run([0xB8, 0x18, 0, 0, 0, 0x8E, 0xD8, 0x8C, 0xD9, 0x8C] + absolute(data, 3) + [0xF4])
        #expect(load.ending == .halted)
        #expect(load.state.registers[1] == 0x18)
        #expect(word(load, at: 0) == 0x18)
        // Beyond the table; CS by MOV; ring 3's data as SS.
        #expect(try run([0xB8, 0x58, 0, 0, 0, 0x8E, 0xC0]).ending == .trap(13, error: 0x58, address: 0))
        #expect(try run([0x8E, 0xC8]).ending == .trap(6, error: 0, address: 0))
        #expect(try run([0xB8, 0x2B, 0, 0, 0, 0x8E, 0xD0]).ending == .trap(13, error: 0x28, address: 0))
        // lss esp, [data]
        let pair = try run(
            [0x0F, 0xB2] + absolute(data, 4) + [0x8C, 0xD1, 0xF4], words: [(data + 0x700) | 0x18 << 32])
        #expect(pair.ending == .halted)
        #expect(pair.state.registers[4] == data + 0x700)
        #expect(pair.state.registers[1] == 0x18)
    }

    @Test func descriptorsAnswerQuestions() throws {
        // mov eax, 0x10; lar ecx, eax; lsl edx, eax; verr ax; setz bl
        let result = try run([
            0xB8, 0x10, 0, 0, 0, 0x0F, 0x02, 0xC8, 0x0F, 0x03, 0xD0, 0x0F, 0x00, 0xE0, 0x0F, 0x94, 0xC3, 0xF4,
        ])
        #expect(result.ending == .halted)
        #expect(result.state.registers[1] == 0x00AF_9B00)
        #expect(result.state.registers[2] == 0xFFFF_FFFF)
        #expect(result.state.registers[3] == 1)
        // verw of code says no.
        let write = try run([0xB8, 0x10, 0, 0, 0, 0x0F, 0x00, 0xE8, 0x0F, 0x94, 0xC3, 0xF4], flags: 0x42)
        #expect(write.state.registers[3] == 0)
    }

    @Test func descriptorTablesAreStoredAsLoaded() throws {
        // sgdt [data]; lgdt [data + 16]; sgdt [data + 32]
        let result = try run(
            [0x0F, 0x01] + absolute(data, 0) + [0x0F, 0x01] + absolute(data + 16, 2) + [0x0F, 0x01]
                + absolute(data + 32, 0) + [0xF4], words: [0, 0, 0xD678_9ABC_DEF0_0123, 0xFFFF])
        #expect(result.ending == .halted)
        #expect(word(result, at: 0, bytes: 2) == 55)
        #expect(word(result, at: 2) == 0xFFFF_FFFF_8000_2800)
        #expect(word(result, at: 32, bytes: 2) == 0x0123)
        #expect(word(result, at: 34) == 0xFFFF_D678_9ABC_DEF0)
    }

    @Test func privilegedFlagsReadBack() throws {
        // push 0x7202; popfq; pushfq; pop rax: IOPL 3, NT, IF
        let result = try run([0x68, 0x02, 0x72, 0, 0, 0x9D, 0x9C, 0x58, 0xFA, 0xF4])
        #expect(result.ending == .halted)
        #expect(result.state.registers[0] == 0x7202)
        // In ring 3 IF and IOPL stay.
        for manner in [MachineTester.Manner.userDirect, .userTranslated] {
            let user = try run([0x68, 0x02, 0x32, 0, 0, 0x9D, 0x9C, 0x58, 0xF4], manner: manner)
            #expect(user.ending == .halted)
            #expect(user.state.registers[0] & 0x3000 == 0)
        }
    }

    @Test func ringThreeNeedsIOPLForInterruptsAndPorts() throws {
        for manner in [MachineTester.Manner.userDirect, .userTranslated] {
            #expect(try run([0xFA], manner: manner).ending == .trap(13, error: 0, address: 0))
            #expect(try run([0xE6, 0x80], manner: manner).ending == .trap(13, error: 0, address: 0))
            let allowed = try run([0xFA, 0xE6, 0x80, 0xF4], flags: 0x3002, manner: manner)
            #expect(allowed.ending == .halted)
            #expect(allowed.state.rip == code + 3)
        }
    }

    @Test func softwareInterruptsAndDebugExceptionsReturnBehindThemselves() throws {
        let breakpoint = try run([0xCC])
        #expect(breakpoint.ending == .trap(3, error: 0, address: 0))
        #expect(breakpoint.state.rip == code + 1)
        let trap = try run([0xF1])
        #expect(trap.ending == .trap(1, error: 0, address: 0))
        #expect(trap.state.rip == code + 1)
        for manner in [MachineTester.Manner.userDirect, .userTranslated] {
            // The gates are ring 0's: #GP names the gate, at the instruction.
            let refused = try run([0xCD, 0x05], manner: manner)
            #expect(refused.ending == .trap(13, error: 5 << 3 | 2, address: 0))
            #expect(refused.state.rip == code)
        }
    }

    @Test(arguments: MachineTester.Manner.allCases)
    func aTrapFlagThatIsPoppedTrapsBehindTheNextInstruction(manner: MachineTester.Manner) throws {
        // push 0x102; popfq; nop; nop
        let result = try run([0x68, 0x02, 0x01, 0, 0, 0x9D, 0x90, 0x90], manner: manner)
        #expect(result.ending == .trap(1, error: 0, address: 0))
        #expect(result.state.rip == code + 7)
    }

    @Test func loadingSSHoldsTheTrapBack() throws {
        // mov eax, 0x18; push 0x102; popfq; mov ss, eax; nop; nop
        let result = try run([0xB8, 0x18, 0, 0, 0, 0x68, 0x02, 0x01, 0, 0, 0x9D, 0x8E, 0xD0, 0x90, 0x90])
        #expect(result.ending == .trap(1, error: 0, address: 0))
        #expect(result.state.rip == code + 14)
    }

    @Test(arguments: MachineTester.Manner.allCases, [[0x0F, 0xAE], [0x48, 0x0F, 0xAE]] as [[UInt8]])
    func extendedStateIsSavedAndRestored(manner: MachineTester.Manner, opcode: [UInt8]) throws {
        // mov eax, 7; xsave/xsaveopt [data + 0x400]; xorps xmm1, xmm1; xrstor [data + 0x400]
        for save in [4, 6] as [UInt8] {
            let result = try run(
                [0xB8, 7, 0, 0, 0] + opcode + absolute(data + 0x400, save) + [0x0F, 0x57, 0xC9] + opcode
                    + absolute(data + 0x400, 5) + [0xF4], manner: manner)
            #expect(result.ending == .halted)
            #expect(result.state.vector[176..<192].contains { $0 != 0 })
            #expect(result.state.vector == DifferentialHarness.normalized(InitialState(.low, seed: 3).state.vector))
        }
        // fxsave, fxrstor
        let legacy = try run(
            opcode + absolute(data + 0x400, 0) + [0x0F, 0x57, 0xC9] + opcode + absolute(data + 0x400, 1) + [0xF4],
            manner: manner)
        #expect(legacy.ending == .halted)
        #expect(legacy.state.vector == DifferentialHarness.normalized(InitialState(.low, seed: 3).state.vector))
    }

    @Test func machineRegistersKnowWhatTheyAreTold() throws {
        // mov ecx, 0xC0000102 (kernel GS base); mov eax, 5; wrmsr with REX; swapgs; rdgsbase rbx
        let result = try run([
            0xB9, 0x02, 0x01, 0x00, 0xC0, 0xB8, 5, 0, 0, 0, 0x48, 0x0F, 0x30, 0x0F, 0x01, 0xF8, 0xF3, 0x48, 0x0F, 0xAE,
            0xCB, 0xF4,
        ])
        #expect(result.ending == .halted)
        #expect(result.state.registers[3] == 5)
    }
}
