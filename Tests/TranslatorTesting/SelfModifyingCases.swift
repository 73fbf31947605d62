/// Cases that change their own code: a loop of additions whose immediates other instructions of the loop count up, in the same
/// block, in another, on the same page and on the next.
public struct SelfModifyingCases {
    private var random: SeededGenerator

    public init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    /// Where an instruction's immediate byte lies that may be counted up.
    private struct Code {
        var bytes: [UInt8] = []
        var immediates: [Int] = []
        /// Offsets of displacements to be filled in, each with what the instruction has behind it.
        var stores: [(displacement: Int, end: Int)] = []
    }

    public mutating func next() -> TestCase {
        var code = Code()
        // mov r15d, rounds
        code.bytes += [0x41, 0xBF, UInt8(2 + random.below(2)), 0, 0, 0]
        let loop = code.bytes.count
        var calls: [Int] = []
        for _ in 0..<2 + random.below(5) {
            switch random.below(10) {
            case 0..<4: addition(&code)
            case 4..<7: store(&code)
            case 7:
                // A block ends: jmp to the next instruction.
                code.bytes += [0xEB, 0]
            default:
                calls.append(code.bytes.count)
                code.bytes += [0xE8, 0, 0, 0, 0]
            }
        }
        addition(&code)
        store(&code)
        // dec r15d; jnz loop; hlt
        code.bytes += [0x41, 0xFF, 0xCF, 0x0F, 0x85]
        append32(loop - code.bytes.count - 4, &code.bytes)
        code.bytes.append(0xF4)
        // A function, on the next page half of the time.
        if random.chance(50) {
            code.bytes += [UInt8](repeating: 0xF4, count: 4096 - code.bytes.count - random.below(6))
        }
        let function = code.bytes.count
        addition(&code)
        if random.chance(50) { store(&code) }
        code.bytes.append(0xC3)
        for call in calls { put32(function - call - 5, at: call + 1, &code.bytes) }
        for store in code.stores {
            put32(random.pick(code.immediates) - store.end, at: store.displacement, &code.bytes)
        }
        return TestCase(layout: .selfModifying, seed: random.next() >> 32, code: code.bytes)
    }

    /// add r32, imm32 for one of EBX, EBP, ESI, EDI
    private mutating func addition(_ code: inout Code) {
        code.bytes += [0x81, 0xC0 | random.pick([3, 5, 6, 7])]
        code.immediates.append(code.bytes.count)
        append32(random.below(100), &code.bytes)
    }

    /// add byte [rip + …], imm8
    private mutating func store(_ code: inout Code) {
        code.bytes += [0x80, 0x05]
        let displacement = code.bytes.count
        append32(0, &code.bytes)
        code.bytes.append(UInt8(1 + random.below(50)))
        code.stores.append((displacement, code.bytes.count))
    }

    private func append32(_ value: Int, _ bytes: inout [UInt8]) {
        bytes += [0, 0, 0, 0]
        put32(value, at: bytes.count - 4, &bytes)
    }

    private func put32(_ value: Int, at offset: Int, _ bytes: inout [UInt8]) {
        for byte in 0..<4 { bytes[offset + byte] = UInt8(truncatingIfNeeded: value >> (8 * byte)) }
    }
}
