import Support

typealias Program = PointerChase

/// Dependent loads in random order over working sets of several sizes: caches and TLB.
struct PointerChase: Workload {
    static var name: StaticString { "pointer-chase" }
    static var summary: StaticString { "dependent loads in random order over growing working sets: caches and TLB" }
    static var operation: StaticString { "hop" }
    static var options: StaticString {
        """
          --bytes B,B…    working sets, each a phase named bytes-B (default 16K,256K,4M,32M)
          --operations M  hops a round (default 200000)

        """
    }

    /// One node a cache line, so that every hop is a line of its own.
    private static let nodeBytes = 64

    private let sizes: [UInt64]
    private let hops: UInt64
    private let memory: Memory
    private var prepared = -1
    private var expected: UInt64 = 0
    private var got: UInt64 = 0

    init(_ arguments: inout Arguments) {
        sizes = arguments.numbers(
            "--bytes", default: [16 << 10, 256 << 10, 4 << 20, 32 << 20], in: 4096...(UInt64(64) << 30))
        hops = arguments.number("--operations", default: 200_000, in: 1...10_000_000_000)
        var largest: UInt64 = 0
        for size in sizes { largest = max(largest, size) }
        memory = Memory(bytes: Int(largest))
    }

    var phases: Int { sizes.count }

    func appendName(ofPhase phase: Int, to text: inout Text) {
        text.append("bytes-")
        text.append(sizes[phase])
    }

    mutating func prepare(phase: Int) {
        // Nowhere: a whole number of turns of the cycle ends at offset 0, as no hop at all would.
        got = .max
        guard prepared != phase else { return }
        prepared = phase
        let cycle = ShuffledCycle(Int(sizes[phase]) / Self.nodeBytes, in: memory) { UInt64($0 * Self.nodeBytes) }
        expected = cycle.offset(after: hops)
        cycle.release()
    }

    mutating func run(phase: Int) -> UInt64 {
        got = ShuffledCycle.follow(memory, hops)
        return hops
    }

    mutating func outcome(phase: Int) -> Outcome { Outcome(got: got, expected: expected) }
}
