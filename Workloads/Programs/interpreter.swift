import Support

typealias Program = Interpreter

/// A small register machine interpreted instruction by instruction: one jump through a table for each, as in the interpreters of
/// scripting languages.
struct Interpreter: Workload {
    static var name: StaticString { "interpreter" }
    static var summary: StaticString { "an interpreter of bytecode that runs a prime sieve" }
    static var operation: StaticString { "bytecode instruction" }
    static var options: StaticString { "  --limit N       primes up to here (default 20000)\n" }

    /// Operations on registers a, b, c; jumps go to `c`.
    private enum Code: UInt8 {
        case load, add, subtract, multiply, storeByte, loadByte, jump, jumpIfLess, jumpIfZero, halt
        case move, xor, shiftRight, and
    }

    private struct Instruction {
        var code: Code
        var a: UInt8 = 0
        var b: UInt8 = 0
        var c: Int32 = 0
    }

    private let limit: Int
    private let program: UnsafeMutablePointer<Instruction>
    private let memory: UnsafeMutablePointer<UInt8>
    private let registers: UnsafeMutablePointer<Int>
    private let expected: UInt64
    private var got: UInt64 = 0

    init(_ arguments: inout Arguments) {
        limit = Int(arguments.number("--limit", default: 20_000, in: 10...(1 << 24)))
        let code = Self.sieve(limit)
        program = .allocate(capacity: code.count)
        for (index, instruction) in code.enumerated() { (program + index).initialize(to: instruction) }
        memory = .allocate(capacity: limit + 1)
        registers = .allocate(capacity: 16)
        expected = Self.reference(limit)
    }

    mutating func prepare(phase: Int) {
        memory.update(repeating: 0, count: limit + 1)
        registers.update(repeating: 0, count: 16)
    }

    mutating func run(phase: Int) -> UInt64 {
        let executed = interpret()
        var sum = Checksum()
        sum.mix(UInt64(truncatingIfNeeded: registers[0]))
        sum.mix(UInt64(truncatingIfNeeded: registers[1]))
        got = sum.value
        return executed
    }

    mutating func outcome(phase: Int) -> Outcome { Outcome(got: got, expected: expected) }

    @inline(never)
    private func interpret() -> UInt64 {
        var at = 0
        var executed: UInt64 = 0
        while true {
            let instruction = program[at]
            let a = Int(instruction.a)
            let b = Int(instruction.b)
            let c = Int(instruction.c)
            at &+= 1
            executed &+= 1
            switch instruction.code {
            case .load: registers[a] = c
            case .move: registers[a] = registers[b]
            case .add: registers[a] = registers[b] &+ registers[c]
            case .subtract: registers[a] = registers[b] &- registers[c]
            case .multiply: registers[a] = registers[b] &* registers[c]
            case .xor: registers[a] = registers[b] ^ registers[c]
            case .and: registers[a] = registers[b] & registers[c]
            case .shiftRight: registers[a] = registers[b] >> (c & 63)
            case .storeByte: memory[registers[a]] = UInt8(truncatingIfNeeded: registers[b])
            case .loadByte: registers[a] = Int(memory[registers[b]])
            case .jump: at = c
            case .jumpIfLess: if registers[a] < registers[b] { at = c }
            case .jumpIfZero: if registers[a] == 0 { at = c }
            case .halt: return executed
            }
        }
    }

    /// Register 0: primes up to `limit`; 1: a mixture of them all. 2: the candidate; 3: its multiple; 4: limit + 1; 5: 1; 6: scratch.
    private static func sieve(_ limit: Int) -> [Instruction] {
        [
            Instruction(code: .load, a: 4, c: Int32(limit + 1)),
            Instruction(code: .load, a: 5, c: 1),
            Instruction(code: .load, a: 2, c: 2),
            // 3: next candidate
            Instruction(code: .loadByte, a: 6, b: 2),
            Instruction(code: .jumpIfZero, a: 6, c: 8),
            // 5: on to the next
            Instruction(code: .add, a: 2, b: 2, c: 5),
            Instruction(code: .jumpIfLess, a: 2, b: 4, c: 3),
            Instruction(code: .halt),
            // 8: a prime
            Instruction(code: .add, a: 0, b: 0, c: 5),
            Instruction(code: .load, a: 6, c: 31),
            Instruction(code: .multiply, a: 1, b: 1, c: 6),
            Instruction(code: .xor, a: 1, b: 1, c: 2),
            Instruction(code: .load, a: 6, c: 0xFF_FFFF),
            Instruction(code: .and, a: 1, b: 1, c: 6),
            Instruction(code: .shiftRight, a: 6, b: 1, c: 3),
            Instruction(code: .add, a: 1, b: 1, c: 6),
            Instruction(code: .move, a: 3, b: 2),
            // 17: cross out its multiples
            Instruction(code: .add, a: 3, b: 3, c: 2),
            Instruction(code: .jumpIfLess, a: 3, b: 4, c: 20),
            Instruction(code: .jump, c: 5),
            Instruction(code: .storeByte, a: 3, b: 5),
            Instruction(code: .jump, c: 17),
        ]
    }

    /// The same mixture over the primes that trial division finds.
    private static func reference(_ limit: Int) -> UInt64 {
        var count = 0
        var mixture = 0
        for number in 2...limit {
            var divisor = 2
            while divisor * divisor <= number, number % divisor != 0 { divisor += 1 }
            guard divisor * divisor > number else { continue }
            count += 1
            mixture = (mixture &* 31 ^ number) & 0xFF_FFFF
            mixture += mixture >> 3
        }
        var sum = Checksum()
        sum.mix(UInt64(count))
        sum.mix(UInt64(mixture))
        return sum.value
    }
}
