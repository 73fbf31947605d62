import Support

typealias Program = Mapping

/// Address spaces that change all the time: mmap and munmap, mprotect, with the faults that come of it.
struct Mapping: Workload {
    static var name: StaticString { "mapping" }
    static var summary: StaticString {
        "storms of mmap and munmap, and of mprotect, with and without touching the pages"
    }
    static var operation: StaticString { "mapping made and removed, or protection changed" }
    static var options: StaticString {
        """
          --pages P       pages of a mapping, at least 2 (default 16)
          --operations M  operations a round, of each phase: map, map-touch, protect, protect-split (default 500)

        """
    }

    private static let wordsPerPage = Memory.pageBytes / 8

    private let pages: Int
    private let operations: UInt64
    private let region: Memory
    private var got: UInt64 = 0
    private var round: UInt64 = 0

    init(_ arguments: inout Arguments) {
        pages = Int(arguments.number("--pages", default: 16, in: 2...65536))
        operations = arguments.number("--operations", default: 500, in: 1...100_000_000)
        region = Memory(bytes: pages * Memory.pageBytes)
    }

    var phases: Int { 4 }

    func appendName(ofPhase phase: Int, to text: inout Text) {
        switch phase {
        case 0: text.append("map")
        case 1: text.append("map-touch")
        case 2: text.append("protect")
        default: text.append("protect-split")
        }
    }

    /// Another seed each round, so that a round that did nothing shows.
    mutating func prepare(phase: Int) { round &+= 1 }

    mutating func run(phase: Int) -> UInt64 {
        var sum = Checksum()
        switch phase {
        case 0:
            for operation in 0..<operations {
                let address = Self.map(bytes)
                Self.unmap(address, bytes)
                sum.mix(operation &+ UInt64(address & 4095))
            }
        case 1:
            for operation in 0..<operations {
                let address = Self.map(bytes)
                let words = UnsafeMutablePointer<UInt64>(bitPattern: Int(address)).unsafelyUnwrapped
                sum.mix(touch(words, operation))
                Self.unmap(address, bytes)
            }
        case 2:
            let words = region.words()
            for operation in 0..<operations {
                // Odd ones take the right to write, even ones give it back and use it.
                if operation & 1 == 1 {
                    protect(0, pages, PROT_READ)
                    sum.mix(total(words))
                } else {
                    protect(0, pages, PROT_READ | PROT_WRITE)
                    store(words, operation)
                }
            }
            protect(0, pages, PROT_READ | PROT_WRITE)
            got = sum.value
            return operations + 1
        default:
            let words = region.words()
            for turn in 0..<turns {
                for page in stride(from: 1, to: pages, by: 2) { protect(page, 1, PROT_READ) }
                sum.mix(total(words))
                protect(0, pages, PROT_READ | PROT_WRITE)
                store(words, turn)
            }
            sum.mix(total(words))
            got = sum.value
            return turns * callsPerTurn
        }
        got = sum.value
        return operations
    }

    mutating func outcome(phase: Int) -> Outcome {
        var sum = Checksum()
        switch phase {
        case 0:
            for operation in 0..<operations { sum.mix(operation) }
        case 1:
            for operation in 0..<operations { sum.mix(expectedTotal(operation)) }
        case 2:
            for operation in 0..<operations where operation & 1 == 1 { sum.mix(expectedTotal(operation - 1)) }
            // That a page is protected is seen from a system call that may not write to it.
            protect(0, pages, PROT_READ)
            let last = Int64(Int(bitPattern: region.start) + (pages - 1) * Memory.pageBytes)
            let result = vb_syscall3(Int64(SYS_clock_gettime), Int64(CLOCK_MONOTONIC), last, 0)
            protect(0, pages, PROT_READ | PROT_WRITE)
            if result != -Int64(EFAULT) { return Outcome(got: got, expected: ~got) }
        default:
            // Before the first turn lies what the phase or the round before has left.
            sum.mix(left)
            for turn in 0..<turns - 1 { sum.mix(expectedTotal(turn)) }
            sum.mix(expectedTotal(turns - 1))
        }
        left = total(region.words())
        return Outcome(got: got, expected: sum.value)
    }

    mutating func finish() { region.release() }

    /// Sum of the region after the last round.
    private var left: UInt64 = 0

    private var bytes: Int64 { Int64(pages * Memory.pageBytes) }
    private var callsPerTurn: UInt64 { UInt64(pages / 2) + 1 }
    private var turns: UInt64 { (operations + callsPerTurn - 1) / callsPerTurn }

    // MARK: Pages

    private func mark(_ operation: UInt64, _ page: Int) -> UInt64 {
        (operation &+ round &* 0x1_0001) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(page)
    }

    /// One word of every page, each in a cache line of another set.
    private func index(_ page: Int) -> Int { page &* Self.wordsPerPage &+ (page &* 8) & (Self.wordsPerPage - 1) }

    private func store(_ words: UnsafeMutablePointer<UInt64>, _ operation: UInt64) {
        for page in 0..<pages { words[index(page)] = mark(operation, page) }
        vb_keep(UInt64(UInt(bitPattern: words)))
    }

    private func total(_ words: UnsafeMutablePointer<UInt64>) -> UInt64 {
        var sum: UInt64 = 0
        for page in 0..<pages { sum &+= words[index(page)] }
        return sum
    }

    /// Adds to every page, which must be zero before.
    private func touch(_ words: UnsafeMutablePointer<UInt64>, _ operation: UInt64) -> UInt64 {
        for page in 0..<pages { words[index(page)] &+= mark(operation, page) }
        vb_keep(UInt64(UInt(bitPattern: words)))
        return total(words)
    }

    private func expectedTotal(_ operation: UInt64) -> UInt64 {
        var sum: UInt64 = 0
        for page in 0..<pages { sum &+= mark(operation, page) }
        return sum
    }

    // MARK: System calls

    @inline(__always)
    private static func map(_ bytes: Int64) -> Int64 {
        let address = vb_syscall6(
            Int64(SYS_mmap), 0, bytes, Int64(PROT_READ | PROT_WRITE), Int64(MAP_PRIVATE | MAP_ANONYMOUS), -1, 0)
        if address <= 0 { systemError("mmap", address) }
        return address
    }

    @inline(__always)
    private static func unmap(_ address: Int64, _ bytes: Int64) {
        let result = vb_syscall3(Int64(SYS_munmap), address, bytes, 0)
        if result != 0 { systemError("munmap", result) }
    }

    @inline(__always)
    private func protect(_ page: Int, _ count: Int, _ protection: Int32) {
        let address = Int64(Int(bitPattern: region.start) + page * Memory.pageBytes)
        let result = vb_syscall3(Int64(SYS_mprotect), address, Int64(count * Memory.pageBytes), Int64(protection))
        if result != 0 { systemError("mprotect", result) }
    }
}
