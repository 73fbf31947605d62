import Support

typealias Program = Spin

/// Registers only: a chain of multiplications and additions that touches no memory. A quiet neighbour.
struct Spin: Workload {
    static var name: StaticString { "spin" }
    static var summary: StaticString { "arithmetic in registers that touches no memory" }
    static var operation: StaticString { "iteration" }
    static var options: StaticString { "  --operations M  iterations a round (default 2000000)\n" }

    // Knuth's MMIX generator.
    private static let factor: UInt64 = 6_364_136_223_846_793_005
    private static let increment: UInt64 = 1_442_695_040_888_963_407

    private let iterations: UInt64
    private let expected: UInt64
    private var got: UInt64 = 0

    init(_ arguments: inout Arguments) {
        iterations = arguments.number("--operations", default: 2_000_000, in: 1...1_000_000_000_000)
        expected = Self.jump(iterations)
    }

    mutating func run(phase: Int) -> UInt64 {
        var state: UInt64 = 1
        var left = iterations
        while left > 0 {
            state = state &* Self.factor &+ Self.increment
            // Keeps the loop a loop: the compiler may not combine iterations.
            vb_keep(state)
            left &-= 1
        }
        got = state
        return iterations
    }

    mutating func outcome(phase: Int) -> Outcome { Outcome(got: got, expected: expected) }

    /// The state after `steps`, by squaring the affine map.
    private static func jump(_ steps: UInt64) -> UInt64 {
        var result: (factor: UInt64, increment: UInt64) = (1, 0)
        var map: (factor: UInt64, increment: UInt64) = (factor, increment)
        var left = steps
        while left > 0 {
            if left & 1 != 0 {
                result = (result.factor &* map.factor, result.increment &* map.factor &+ map.increment)
            }
            map = (map.factor &* map.factor, map.increment &* map.factor &+ map.increment)
            left >>= 1
        }
        return result.factor &+ result.increment
    }
}
