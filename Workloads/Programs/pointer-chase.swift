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
    private static let wordsPerNode = 8

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

    /// Links the nodes into one cycle in shuffled order. The node that `hops` steps lead to follows from the order alone.
    mutating func prepare(phase: Int) {
        guard prepared != phase else { return }
        prepared = phase
        let nodes = Int(sizes[phase]) / (Self.wordsPerNode * 8)
        let order = UnsafeMutablePointer<UInt32>.allocate(capacity: nodes)
        defer { order.deallocate() }
        for index in 0..<nodes { order[index] = UInt32(truncatingIfNeeded: index) }
        var random = Random(seed: sizes[phase])
        // Node 0 stays first; the rest by Fisher and Yates.
        var index = nodes - 1
        while index > 1 {
            let other = 1 + Int(random.next(below: UInt64(index)))
            let node = order[index]
            order[index] = order[other]
            order[other] = node
            index -= 1
        }
        let words = memory.words()
        for position in 0..<nodes {
            let next = order[position + 1 == nodes ? 0 : position + 1]
            words[Int(order[position]) * Self.wordsPerNode] = UInt64(next) * UInt64(Self.wordsPerNode * 8)
        }
        expected = UInt64(order[Int(hops % UInt64(nodes))]) * UInt64(Self.wordsPerNode * 8)
    }

    mutating func run(phase: Int) -> UInt64 {
        let base = UnsafeRawPointer(memory.start)
        var offset: UInt64 = 0
        for _ in 0..<hops {
            offset = base.load(fromByteOffset: Int(truncatingIfNeeded: offset), as: UInt64.self)
        }
        got = offset
        return hops
    }

    mutating func outcome(phase: Int) -> Outcome { Outcome(got: got, expected: expected) }
}
