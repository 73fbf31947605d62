import Support

typealias Program = ContextSwitch

/// A token that goes round a ring of processes through pipes, after lmbench's lat_ctx. Every process sums up its working
/// set before it passes the token on, so a switch costs what it pushes out of caches and TLB as well.
struct ContextSwitch: Workload {
    static var name: StaticString { "context-switch" }
    static var summary: StaticString { "a token through a ring of processes joined by pipes, each with a working set" }
    static var operation: StaticString { "hop" }
    static var options: StaticString {
        """
          --processes N,N…  rings, each a phase named processes-N; 1 is a pipe without a switch (default 1,2,8,16)
          --bytes B         working set of each process, 0 or more (default 0)
          --operations M    hops a round, rounded up to whole turns of the ring (default 1000)

        """
    }

    private let sizes: [UInt64]
    private let words: Int
    private let hops: UInt64
    private var ring: Ring?
    private var token: UInt64 = 0
    private var expected: UInt64 = 0

    init(_ arguments: inout Arguments) {
        sizes = arguments.numbers("--processes", default: [1, 2, 8, 16], in: 1...256)
        words = Int(arguments.number("--bytes", default: 0, in: 0...(UInt64(1) << 30))) / 8
        hops = arguments.number("--operations", default: 1000, in: 1...100_000_000)
    }

    var phases: Int { sizes.count }

    func appendName(ofPhase phase: Int, to text: inout Text) {
        text.append("processes-")
        text.append(sizes[phase])
    }

    mutating func prepare(phase: Int) {
        guard ring?.size != sizes[phase] else { return }
        ring?.dissolve()
        ring = Ring(size: sizes[phase], words: words)
        token = 0
        expected = 0
    }

    mutating func run(phase: Int) -> UInt64 {
        guard let ring else { return 0 }
        let turns = turns(phase)
        for _ in 0..<turns { token = ring.turn(token) }
        return turns * ring.size
    }

    mutating func outcome(phase: Int) -> Outcome {
        for _ in 0..<turns(phase) {
            for process in 0..<sizes[phase] {
                // The working set of process p holds (p + 1)·k in word k.
                let count = UInt64(words)
                let sum = words == 0 ? 0 : (process &+ 1) &* (count &* (count &- 1) / 2)
                expected = Ring.stamp(expected, process, sum)
            }
        }
        return Outcome(got: token, expected: expected)
    }

    mutating func finish() { ring?.dissolve() }

    private func turns(_ phase: Int) -> UInt64 { (hops + sizes[phase] - 1) / sizes[phase] }
}

/// This process and `size` − 1 children, each with a pipe to the next; the last one's leads back here.
private struct Ring {
    let size: UInt64
    private let first: Int32
    private let last: Int32
    private let workingSet: WorkingSet

    init(size: UInt64, words: Int) {
        self.size = size
        var (previous, own) = Self.makePipe()
        first = own
        for process in 1..<size {
            let (read, write) = Self.makePipe()
            own = write
            let child = vb_syscall0(Int64(SYS_fork))
            guard child >= 0 else { systemError("fork", child) }
            if child == 0 {
                // Whoever kept a writing end open here would keep its reader from ever seeing the end.
                close(first)
                close(read)
                Self.passOn(from: previous, to: write, process, WorkingSet(process, words: words))
            }
            close(previous)
            close(write)
            previous = read
        }
        last = previous
        workingSet = WorkingSet(0, words: words)
    }

    /// Sends the token once round.
    func turn(_ token: UInt64) -> UInt64 {
        var token = Self.stamp(token, 0, workingSet.sum())
        guard Self.transfer(SYS_write, first, &token) else { systemError("writing to the pipe", 0) }
        guard Self.transfer(SYS_read, last, &token) else { systemError("reading from the pipe", 0) }
        return token
    }

    /// Ends the children, one by the other's end.
    func dissolve() {
        close(first)
        for _ in 1..<size { _ = vb_syscall4(Int64(SYS_wait4), -1, 0, 0, 0) }
        close(last)
        workingSet.release()
    }

    @inline(__always)
    static func stamp(_ token: UInt64, _ process: UInt64, _ sum: UInt64) -> UInt64 {
        (token &+ sum) &* 0x9E37_79B9_7F4A_7C15 &+ process &+ 1
    }

    private static func passOn(from input: Int32, to output: Int32, _ process: UInt64, _ workingSet: WorkingSet)
        -> Never
    {
        var token: UInt64 = 0
        while transfer(SYS_read, input, &token) {
            token = stamp(token, process, workingSet.sum())
            guard transfer(SYS_write, output, &token) else { break }
        }
        _ = vb_syscall1(Int64(SYS_exit_group), 0)
        exit(0)
    }

    @inline(__always)
    private static func transfer(_ call: Int32, _ descriptor: Int32, _ token: inout UInt64) -> Bool {
        withUnsafeMutablePointer(to: &token) {
            vb_syscall3(Int64(call), Int64(descriptor), Int64(Int(bitPattern: $0)), 8) == 8
        }
    }

    private static func makePipe() -> (read: Int32, write: Int32) {
        var ends: (Int32, Int32) = (0, 0)
        let result = withUnsafeMutableBytes(of: &ends) { pipe($0.baseAddress!.assumingMemoryBound(to: Int32.self)) }
        guard result == 0 else { systemError("pipe", Int64(vb_errno())) }
        return ends
    }
}

private struct WorkingSet {
    private let memory: Memory?
    private let count: Int

    init(_ process: UInt64, words count: Int) {
        self.count = count
        memory = count == 0 ? nil : Memory(bytes: count * 8)
        guard let words = memory?.words() else { return }
        for index in 0..<count { words[index] = (process &+ 1) &* UInt64(index) }
    }

    @inline(__always)
    func sum() -> UInt64 {
        guard let words = memory?.words() else { return 0 }
        var sum: UInt64 = 0
        for index in 0..<count { sum &+= words[index] }
        return sum
    }

    func release() { memory?.release() }
}
