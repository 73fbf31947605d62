import Support

typealias Program = MemoryBandwidth

/// The four kernels of McCalpin's STREAM over arrays larger than the caches. Bytes are counted as STREAM counts them: what
/// the kernel reads and writes, without what the cache reads to write.
struct MemoryBandwidth: Workload {
    static var name: StaticString { "memory-bandwidth" }
    static var summary: StaticString { "STREAM's copy, scale, add and triad over large arrays" }
    static var operation: StaticString { "byte moved" }
    static var options: StaticString {
        """
          --bytes B       size of each of the three arrays (default 8M)
          --passes P      passes a round, of each phase: copy, scale, add, triad (default 2)

        """
    }

    private enum Kernel: Int, CaseIterable { case copy, scale, add, triad }

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

    var phases: Int { Kernel.allCases.count }

    func appendName(ofPhase phase: Int, to text: inout Text) {
        switch Kernel(rawValue: phase) {
        case .copy: text.append("copy")
        case .scale: text.append("scale")
        case .add: text.append("add")
        default: text.append("triad")
        }
    }

    /// Another factor each round, and no result of the round before, so that a round that did nothing shows.
    mutating func prepare(phase: Int) {
        scale = scale == 3 ? 5 : 3
        for index in 0..<count { a[index] = -1 }
    }

    mutating func run(phase: Int) -> UInt64 {
        let (a, b, c, scale) = (a, b, c, scale)
        for _ in 0..<passes {
            switch Kernel(rawValue: phase) {
            case .copy: for index in 0..<count { a[index] = b[index] }
            case .scale: for index in 0..<count { a[index] = scale * b[index] }
            case .add: for index in 0..<count { a[index] = b[index] + c[index] }
            default: for index in 0..<count { a[index] = b[index] + scale * c[index] }
            }
            vb_keep(UInt64(UInt(bitPattern: a)))
        }
        let arrays: UInt64 = phase < Kernel.add.rawValue ? 2 : 3
        return UInt64(count) * passes * arrays * UInt64(MemoryLayout<Double>.size)
    }

    /// All values are small whole numbers, exact in double precision.
    mutating func outcome(phase: Int) -> Outcome {
        var got = Checksum()
        var expected = Checksum()
        let scale = UInt64(scale)
        for index in 0..<count {
            got.mix(UInt64(bitPattern: Int64(a[index])))
            let (b, c) = (UInt64(index & 1023), UInt64(index % 7))
            switch Kernel(rawValue: phase) {
            case .copy: expected.mix(b)
            case .scale: expected.mix(scale * b)
            case .add: expected.mix(b + c)
            default: expected.mix(b + scale * c)
            }
        }
        return Outcome(got: got.value, expected: expected.value)
    }
}
