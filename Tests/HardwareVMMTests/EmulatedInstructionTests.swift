import Testing

@testable import HardwareVMM

@Suite struct EmulatedInstructionTests {
    @Test(
        arguments: [
            ([0xEE], EmulatedInstruction.portOutput), ([0x66, 0xED], .portInput), ([0xF3, 0x6E], .portOutput),
            ([0xE6, 0x80], .portOutput), ([0xF4], .halt), ([0x48, 0xCF], .interruptReturn),
            ([0x48, 0x0F, 0x07], .fastReturn),
            ([0x0F, 0xA2], .cpuid), ([0x0F, 0x30], .writeMSR), ([0x0F, 0x32], .readMSR),
            ([0x0F, 0x20, 0xD8], .readControlRegister), ([0x0F, 0x22, 0xD8], .writeControlRegister),
            ([0x44, 0x0F, 0x22, 0xC0], .writeControlRegister), ([0x0F, 0x23, 0xF8], .debugRegister),
            ([0x0F, 0x01, 0x3B], .invalidatePage), ([0x0F, 0x01, 0x15], .descriptorTable),
            ([0x0F, 0x00, 0xD8], .descriptorTable), ([0x0F, 0x01, 0xC1], .hypercall), ([0x0F, 0x01, 0xD9], .hypercall),
            ([0x0F, 0x01, 0xF8], .other),  // swapgs
            ([0x0F, 0x01, 0xF0], .writeControlRegister),  // lmsw
            ([0x48, 0x89, 0xE5], .other), ([0xEB, 0xFE], .other), ([0x0F, 0x05], .other),
        ] as [([UInt8], EmulatedInstruction)])
    func isToldByItsBytes(code: [UInt8], expected: EmulatedInstruction) {
        #expect(code.withUnsafeBytes { EmulatedInstruction($0) } == expected)
    }

    @Test(arguments: [[], [0x66], [0x0F], [0x0F, 0x01]] as [[UInt8]])
    func cutShortIsNoTrap(code: [UInt8]) {
        let instruction = code.withUnsafeBytes { EmulatedInstruction($0) }
        #expect(instruction == .other || instruction == .descriptorTable)
    }

    @Test func namesAreDistinct() {
        #expect(Set(EmulatedInstruction.allCases.map(\.name)).count == EmulatedInstruction.allCases.count)
    }
}
