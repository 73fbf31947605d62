import Support

typealias Program = RecursiveCall

/// Nothing but calls and returns: the doubly recursive Fibonacci function.
struct RecursiveCall: Workload {
    static var name: StaticString { "recursive-call" }
    static var summary: StaticString { "calls and returns: the doubly recursive Fibonacci function" }
    static var operation: StaticString { "call" }
    static var options: StaticString { "  --depth N       argument of the function (default 25)\n" }

    private let depth: UInt64
    private var got: UInt64 = 0

    init(_ arguments: inout Arguments) { depth = arguments.number("--depth", default: 25, in: 1...60) }

    mutating func run(phase: Int) -> UInt64 {
        got = fibonacci(depth)
        // Calls made for fib(n): 2·fib(n+1) - 1.
        return 2 * Self.iterative(depth + 1) - 1
    }

    mutating func outcome(phase: Int) -> Outcome { Outcome(got: got, expected: Self.iterative(depth)) }

    private static func iterative(_ n: UInt64) -> UInt64 {
        var pair: (UInt64, UInt64) = (0, 1)
        for _ in 0..<n { pair = (pair.1, pair.0 + pair.1) }
        return pair.0
    }
}

/// The barriers keep the compiler from turning either call into a loop.
@inline(never)
private func fibonacci(_ n: UInt64) -> UInt64 {
    if n < 2 { return n }
    let a = fibonacci(n &- 1)
    vb_keep(a)
    let b = fibonacci(n &- 2)
    vb_keep(b)
    return a &+ b
}
