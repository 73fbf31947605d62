import Support

typealias Program = TLBReach

/// One dependent load a page over growing numbers of pages: where the time steps up, a TLB is full.
struct TLBReach: Workload {
    static var name: StaticString { "tlb-reach" }
    static var summary: StaticString {
        "dependent loads, one a page, over growing numbers of pages: the reach of the TLBs"
    }
    static var operation: StaticString { "hop" }
    static var options: StaticString {
        """
          --pages N,N…    pages of 4 KiB, each a phase named pages-N (default 16,64,256,1024,4096,16K)
          --operations M  hops a round (default 200000)

        """
    }

    private let sizes: [UInt64]
    private let hops: UInt64
    private let memory: Memory
    private var prepared = -1
    private var expected: UInt64 = 0
    private var got: UInt64 = 0

    init(_ arguments: inout Arguments) {
        sizes = arguments.numbers("--pages", default: [16, 64, 256, 1024, 4096, 16384], in: 1...(1 << 24))
        hops = arguments.number("--operations", default: 200_000, in: 1...10_000_000_000)
        var largest: UInt64 = 0
        for size in sizes { largest = max(largest, size) }
        memory = Memory(bytes: Int(largest) * Memory.pageBytes)
    }

    var phases: Int { sizes.count }

    func appendName(ofPhase phase: Int, to text: inout Text) {
        text.append("pages-")
        text.append(sizes[phase])
    }

    /// A different cache line from page to page: a page costs one line, spread over all sets of the caches.
    mutating func prepare(phase: Int) {
        // Nowhere: a whole number of turns of the cycle ends at offset 0, as no hop at all would.
        got = .max
        guard prepared != phase else { return }
        prepared = phase
        let cycle = ShuffledCycle(Int(sizes[phase]), in: memory) { page in
            UInt64(page) * UInt64(Memory.pageBytes) + UInt64(page & 63) * 64
        }
        expected = cycle.offset(after: hops)
        cycle.release()
    }

    mutating func run(phase: Int) -> UInt64 {
        got = ShuffledCycle.follow(memory, hops)
        return hops
    }

    mutating func outcome(phase: Int) -> Outcome { Outcome(got: got, expected: expected) }

    mutating func finish() { memory.release() }
}
