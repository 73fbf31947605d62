import Support

typealias Program = PipePingPong

/// One byte to a child process and one back, over two pipes: two context switches and four system calls a round trip.
struct PipePingPong: Workload {
    static var name: StaticString { "pipe-pingpong" }
    static var summary: StaticString { "one byte to another process and back through pipes: two context switches" }
    static var operation: StaticString { "round trip" }
    static var options: StaticString { "  --operations M  round trips a round (default 1000)\n" }

    private let trips: UInt64
    private let toChild: Int64
    private let fromChild: Int64
    private let child: Int64
    private var replies = Checksum()

    init(_ arguments: inout Arguments) {
        trips = arguments.number("--operations", default: 1000, in: 1...100_000_000)
        let forth = Self.makePipe()
        let back = Self.makePipe()
        let process = vb_syscall0(Int64(SYS_fork))
        guard process >= 0 else { systemError("fork", process) }
        if process == 0 {
            close(forth.write)
            close(back.read)
            Self.reply(from: Int64(forth.read), to: Int64(back.write))
        }
        close(forth.read)
        close(back.write)
        child = process
        toChild = Int64(forth.write)
        fromChild = Int64(back.read)
    }

    mutating func run(phase: Int) -> UInt64 {
        var sum = Checksum()
        var byte: UInt8 = 0
        for trip in 0..<trips {
            byte = UInt8(truncatingIfNeeded: trip)
            guard Self.transfer(SYS_write, toChild, &byte) == 1 else { systemError("writing to the pipe", 0) }
            guard Self.transfer(SYS_read, fromChild, &byte) == 1 else { systemError("reading from the pipe", 0) }
            sum.mix(UInt64(byte))
        }
        replies = sum
        return trips
    }

    mutating func outcome(phase: Int) -> Outcome {
        var expected = Checksum()
        for trip in 0..<trips { expected.mix(UInt64(Self.answer(UInt8(truncatingIfNeeded: trip)))) }
        return Outcome(got: replies.value, expected: expected.value)
    }

    mutating func finish() {
        close(Int32(toChild))
        var status: Int32 = 0
        _ = withUnsafeMutablePointer(to: &status) { status in
            vb_syscall4(Int64(SYS_wait4), child, Int64(Int(bitPattern: status)), 0, 0)
        }
    }

    /// The child: answers every byte until the other end is closed.
    private static func reply(from input: Int64, to output: Int64) -> Never {
        var byte: UInt8 = 0
        while transfer(SYS_read, input, &byte) == 1 {
            byte = answer(byte)
            guard transfer(SYS_write, output, &byte) == 1 else { break }
        }
        _ = vb_syscall1(Int64(SYS_exit_group), 0)
        exit(0)
    }

    @inline(__always)
    private static func answer(_ byte: UInt8) -> UInt8 { byte &* 5 &+ 3 }

    @inline(__always)
    private static func transfer(_ call: Int32, _ descriptor: Int64, _ byte: inout UInt8) -> Int64 {
        withUnsafeMutablePointer(to: &byte) { vb_syscall3(Int64(call), descriptor, Int64(Int(bitPattern: $0)), 1) }
    }

    private static func makePipe() -> (read: Int32, write: Int32) {
        var ends: (Int32, Int32) = (0, 0)
        let result = withUnsafeMutableBytes(of: &ends) { pipe($0.baseAddress!.assumingMemoryBound(to: Int32.self)) }
        guard result == 0 else { systemError("pipe", Int64(vb_errno())) }
        return ends
    }
}
