import Support

typealias Program = MemoryBandwidth

/// The triad of McCalpin's STREAM: a = b + s·c over arrays larger than the caches.
struct MemoryBandwidth: Workload {
    static var name: StaticString { "memory-bandwidth" }
    static var summary: StaticString { "STREAM triad, a = b + s*c over large arrays" }
    static var operation: StaticString { "element of 24 bytes moved" }
    static var options: StaticString {
        """
          --bytes B       size of each of the three arrays (default 8M)
          --passes P      triads a round (default 2)

        """
    }

    private let count: Int
    private let passes: UInt64
    private let a: UnsafeMutablePointer<Double>
    private let b: UnsafeMutablePointer<Double>
    private let c: UnsafeMutablePointer<Double>
    private var scale = 1.0

    init(_ arguments: inout Arguments) {
        let bytes = Int(arguments.number("--bytes", default: 8 << 20, in: 4096...(UInt64(16) << 30)))
        passes = arguments.number("--passes", default: 2, in: 1...1_000_000)
        count = bytes / MemoryLayout<Double>.size
        a = Memory(bytes: bytes).doubles()
        b = Memory(bytes: bytes).doubles()
        c = Memory(bytes: bytes).doubles()
        for index in 0..<count {
            a[index] = 0
            b[index] = Double(index & 1023)
            c[index] = Double(index % 7)
        }
    }

    /// Another factor each round, so that a round that did nothing shows.
    mutating func prepare(phase: Int) { scale = scale == 3 ? 5 : 3 }

    mutating func run(phase: Int) -> UInt64 {
        let scale = scale
        for _ in 0..<passes {
            for index in 0..<count { a[index] = b[index] + scale * c[index] }
            vb_keep(UInt64(UInt(bitPattern: a)))
        }
        return UInt64(count) * passes
    }

    /// All values are small whole numbers, exact in double precision.
    mutating func outcome(phase: Int) -> Outcome {
        var got = Checksum()
        var expected = Checksum()
        for index in 0..<count {
            got.mix(UInt64(bitPattern: Int64(a[index])))
            expected.mix(UInt64(index & 1023) &+ UInt64(scale) &* UInt64(index % 7))
        }
        return Outcome(got: got.value, expected: expected.value)
    }
}
