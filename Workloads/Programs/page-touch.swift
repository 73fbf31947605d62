import Support

typealias Program = PageTouch

/// Demand-zero faults: one store to each page of fresh anonymous memory.
struct PageTouch: Workload {
    static var name: StaticString { "page-touch" }
    static var summary: StaticString { "first store to each page of fresh memory: a demand-zero fault a page" }
    static var operation: StaticString { "page" }
    static var options: StaticString { "  --operations M  pages a round (default 2048)\n" }

    private static let wordsPerPage = Memory.pageBytes / 8

    private let pages: Int
    private var memory: Memory?

    init(_ arguments: inout Arguments) {
        pages = Int(arguments.number("--operations", default: 2048, in: 1...(1 << 24)))
    }

    mutating func prepare(phase: Int) {
        memory?.release()
        memory = Memory(bytes: pages * Memory.pageBytes)
    }

    mutating func run(phase: Int) -> UInt64 {
        guard let words = memory?.words() else { return 0 }
        for page in 0..<pages {
            words[page &* Self.wordsPerPage &+ Self.wordIndex(page)] = Self.mark(page)
        }
        // The stores must be done before the second time stamp, though nothing reads them yet.
        vb_keep(UInt64(UInt(bitPattern: words)))
        return UInt64(pages)
    }

    /// Every word of every page counts: the mark where it was stored, zero everywhere else.
    mutating func outcome(phase: Int) -> Outcome {
        guard let words = memory?.words() else { return Outcome(got: 0, expected: 1) }
        var got = Checksum()
        var expected = Checksum()
        for page in 0..<pages {
            let base = words + page * Self.wordsPerPage
            var sum: UInt64 = 0
            for index in 0..<Self.wordsPerPage { sum &+= base[index] }
            got.mix(sum)
            got.mix(base[Self.wordIndex(page)])
            expected.mix(Self.mark(page))
            expected.mix(Self.mark(page))
        }
        return Outcome(got: got.value, expected: expected.value)
    }

    mutating func finish() { memory?.release() }

    /// A different cache line from page to page, so that stores do not fight for one cache set.
    @inline(__always)
    private static func wordIndex(_ page: Int) -> Int { (page &* 8) & (wordsPerPage - 1) }

    @inline(__always)
    private static func mark(_ page: Int) -> UInt64 { UInt64(page) &* 0x9E37_79B9_7F4A_7C15 | 1 }
}
