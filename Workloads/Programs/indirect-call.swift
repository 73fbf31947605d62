import Support

typealias Program = IndirectCall

/// Calls through a table of functions in an order that depends on data: what virtual methods and callbacks come down to.
struct IndirectCall: Workload {
    static var name: StaticString { "indirect-call" }
    static var summary: StaticString { "calls through a table of functions, in an order that depends on data" }
    static var operation: StaticString { "call" }
    static var options: StaticString { "  --operations M  calls a round (default 200000)\n" }

    private typealias Function = @convention(c) (UInt64) -> UInt64

    private static let functions = 16

    private let calls: Int
    private let table: UnsafeMutablePointer<Function>
    private let order: UnsafeMutablePointer<UInt8>
    private let expected: UInt64
    private var got: UInt64 = 0

    init(_ arguments: inout Arguments) {
        calls = Int(arguments.number("--operations", default: 200_000, in: 1...(1 << 28)))
        table = .allocate(capacity: Self.functions)
        let all: [Function] = [
            { $0 &+ 0x9E37_79B9 }, { $0 ^ $0 >> 7 }, { $0 &* 5 }, { $0 << 3 | $0 >> 61 }, { ~$0 }, { $0 &- 12_345 },
            { $0 ^ $0 << 9 }, { $0 &* 0x0000_0100_0000_01B3 }, { $0 << 32 | $0 >> 32 }, { $0 &+ $0 >> 3 },
            { $0 ^ 0x5555 },
            { $0 << 13 | $0 >> 51 }, { $0 &* 9 &+ 1 }, { $0 ^ $0 >> 33 }, { 0 &- $0 }, { $0 << 47 | $0 >> 17 },
        ]
        for index in 0..<Self.functions { (table + index).initialize(to: all[index]) }
        order = .allocate(capacity: calls)
        // Runs of the same target are broken by others, as in real dispatch: three in four follow a short cycle.
        var random = Random(seed: 5)
        for index in 0..<calls {
            let draw = random.next()
            order[index] = UInt8(truncatingIfNeeded: draw & 3 == 0 ? draw >> 8 & 15 : UInt64(index) & 3)
        }
        expected = Self.reference(order, calls)
    }

    mutating func run(phase: Int) -> UInt64 {
        var value: UInt64 = 1
        for index in 0..<calls { value = table[Int(order[index])](value) }
        got = value
        return UInt64(calls)
    }

    mutating func outcome(phase: Int) -> Outcome { Outcome(got: got, expected: expected) }

    /// The same by a switch.
    private static func reference(_ order: UnsafeMutablePointer<UInt8>, _ calls: Int) -> UInt64 {
        var value: UInt64 = 1
        for index in 0..<calls {
            switch order[index] {
            case 0: value = value &+ 0x9E37_79B9
            case 1: value ^= value >> 7
            case 2: value = value &* 5
            case 3: value = rotated(value, 3)
            case 4: value = ~value
            case 5: value = value &- 12_345
            case 6: value ^= value << 9
            case 7: value = value &* 0x0000_0100_0000_01B3
            case 8: value = rotated(value, 32)
            case 9: value = value &+ value >> 3
            case 10: value ^= 0x5555
            case 11: value = rotated(value, 13)
            case 12: value = value &* 9 &+ 1
            case 13: value ^= value >> 33
            case 14: value = 0 &- value
            default: value = rotated(value, 47)
            }
        }
        return value
    }

    private static func rotated(_ value: UInt64, _ bits: UInt64) -> UInt64 { value << bits | value >> (64 - bits) }
}
