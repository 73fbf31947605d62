import Support

typealias Program = PageFault

/// First stores to pages in several orders and kinds. Phase `sequential` is what page-touch does.
struct PageFault: Workload {
    static var name: StaticString { "page-fault" }
    static var summary: StaticString { "first stores to pages: in order, in random order, of huge pages, after a fork" }
    static var operation: StaticString { "page of 4 KiB" }
    static var options: StaticString {
        """
          --operations M  pages a round, of each phase: sequential, random, huge, copy-on-write (default 2048)

        """
    }

    private enum Phase: Int, CaseIterable { case sequential, random, huge, copyOnWrite }

    private static let wordsPerPage = Memory.pageBytes / 8

    private let pages: Int
    private let orders: UnsafeMutablePointer<UInt32>
    private var memory: Memory?
    private var sharer: Sharer?
    private var faultsBefore: UInt64 = 0
    private var faults: [UInt64] = [0, 0, 0, 0]

    init(_ arguments: inout Arguments) {
        pages = Int(arguments.number("--operations", default: 2048, in: 1...(1 << 24)))
        // In order, then shuffled (Fisher and Yates): the look-up costs both the same.
        orders = .allocate(capacity: 2 * pages)
        for page in 0..<2 * pages { orders[page] = UInt32(page % pages) }
        let shuffled = orders + pages
        var random = Random(seed: UInt64(pages))
        for page in stride(from: pages - 1, to: 0, by: -1) {
            let other = Int(random.next(below: UInt64(page) + 1))
            (shuffled[page], shuffled[other]) = (shuffled[other], shuffled[page])
        }
    }

    var phases: Int { Phase.allCases.count }

    func appendName(ofPhase phase: Int, to text: inout Text) {
        switch Phase(rawValue: phase) {
        case .sequential: text.append("sequential")
        case .random: text.append("random")
        case .huge: text.append("huge")
        default: text.append("copy-on-write")
        }
    }

    mutating func prepare(phase: Int) {
        memory?.release()
        let phase = Phase(rawValue: phase)
        let memory = Memory(bytes: pages * Memory.pageBytes, hugePages: phase == .huge)
        self.memory = memory
        if phase == .copyOnWrite {
            for page in 0..<pages { memory.words()[Self.index(page)] = Self.old(page) }
            sharer = Sharer()
        }
        faultsBefore = vb_minor_faults()
    }

    mutating func run(phase: Int) -> UInt64 {
        guard let words = memory?.words() else { return 0 }
        let order = orders + (phase == Phase.random.rawValue ? pages : 0)
        for position in 0..<pages {
            let page = Int(order[position])
            words[Self.index(page)] &+= Self.mark(page)
        }
        vb_keep(UInt64(UInt(bitPattern: words)))
        return UInt64(pages)
    }

    /// Every word of every page counts: the mark where it was stored, zero everywhere else.
    mutating func outcome(phase: Int) -> Outcome {
        faults[phase] = vb_minor_faults() &- faultsBefore
        sharer?.end()
        sharer = nil
        guard let words = memory?.words() else { return Outcome(got: 0, expected: 1) }
        var got = Checksum()
        var expected = Checksum()
        for page in 0..<pages {
            let base = words + page * Self.wordsPerPage
            var sum: UInt64 = 0
            for index in 0..<Self.wordsPerPage { sum &+= base[index] }
            got.mix(sum)
            got.mix(words[Self.index(page)])
            let value = Self.mark(page) &+ (phase == Phase.copyOnWrite.rawValue ? Self.old(page) : 0)
            expected.mix(value)
            expected.mix(value)
        }
        return Outcome(got: got.value, expected: expected.value)
    }

    mutating func finish() { memory?.release() }

    /// Faults of the last round of each phase by the kernel's own count, where it counts them.
    func appendValues(to records: inout Records) {
        records.appendValue("faults-sequential", faults[0])
        records.appendValue("faults-random", faults[1])
        records.appendValue("faults-huge", faults[2])
        records.appendValue("faults-copy-on-write", faults[3])
    }

    /// A different cache line from page to page, so that stores do not fight for one cache set.
    @inline(__always)
    private static func index(_ page: Int) -> Int { page &* wordsPerPage &+ (page &* 8) & (wordsPerPage - 1) }

    @inline(__always)
    private static func mark(_ page: Int) -> UInt64 { UInt64(page) &* 0x9E37_79B9_7F4A_7C15 | 1 }

    private static func old(_ page: Int) -> UInt64 { UInt64(page) &+ 0x1234_5678 }
}

/// A child that only keeps the pages shared: it waits until its pipe is closed.
private struct Sharer {
    private let child: Int64
    private let pipeEnd: Int32

    init() {
        var ends: (Int32, Int32) = (0, 0)
        let result = withUnsafeMutableBytes(of: &ends) { pipe($0.baseAddress!.assumingMemoryBound(to: Int32.self)) }
        guard result == 0 else { systemError("pipe", Int64(vb_errno())) }
        child = vb_syscall0(Int64(SYS_fork))
        guard child >= 0 else { systemError("fork", child) }
        if child == 0 {
            close(ends.1)
            var byte: UInt8 = 0
            _ = withUnsafeMutablePointer(to: &byte) {
                vb_syscall3(Int64(SYS_read), Int64(ends.0), Int64(Int(bitPattern: $0)), 1)
            }
            _ = vb_syscall1(Int64(SYS_exit_group), 0)
        }
        close(ends.0)
        pipeEnd = ends.1
    }

    func end() {
        close(pipeEnd)
        _ = vb_syscall4(Int64(SYS_wait4), child, 0, 0, 0)
    }
}
