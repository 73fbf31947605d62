import Support

typealias Program = Nanobench

/// Single operations, the paper's nanobenchmarks: in ring 0 where the kernel is Nub, which times them for us; else in ring 3, as far
/// as ring 3 can do them. A guest's ring 0 against native ring 3 is what virtualization does to the operation.
struct Nanobench: Workload {
    static var name: StaticString { "nanobench" }
    static var summary: StaticString {
        "single operations of a kernel: call and return, port read; natively what ring 3 can do"
    }
    static var operation: StaticString { "operation" }
    static var options: StaticString { "  --operations M  operations a round (default 16K)\n" }

    private let iterations: UInt64
    /// Whether the kernel times operations for us.
    private let isGuest: Bool
    private var cycles: UInt64 = 0
    private var check: UInt64 = 0

    init(_ arguments: inout Arguments) {
        let unrolled = UInt64(VB_NANO_UNROLLED)
        iterations =
            arguments.number(
                "--operations", default: 16 << 10, in: unrolled...(Nanobenchmark.iterationLimit * unrolled)) / unrolled
        isGuest = Self.inRing0(.loop, 1) != nil
    }

    /// Calls can be made in any ring, ports are the kernel's.
    var phases: Int { isGuest ? 2 : 1 }

    private func benchmark(_ phase: Int) -> Nanobenchmark { phase == 0 ? .callReturn : .portRead }

    func appendName(ofPhase phase: Int, to text: inout Text) {
        switch benchmark(phase) {
        case .loop: text.append("loop")
        case .callReturn: text.append("callret")
        case .portRead: text.append("in")
        }
    }

    mutating func run(phase: Int) -> UInt64 {
        let loop = measured(.loop)
        let whole = measured(benchmark(phase))
        // A loop that an interrupt lengthened must not give a negative time.
        cycles = whole.cycles > loop.cycles ? whole.cycles &- loop.cycles : whole.cycles
        check = whole.check
        return iterations &* UInt64(VB_NANO_UNROLLED)
    }

    func measuredCycles(phase: Int) -> UInt64? { cycles }

    mutating func outcome(phase: Int) -> Outcome {
        switch benchmark(phase) {
        case .loop: Outcome(got: check, expected: iterations)
        case .callReturn: Outcome(got: check, expected: iterations &* UInt64(VB_NANO_UNROLLED))
        // A port without a device floats high.
        case .portRead: Outcome(got: check, expected: 0xFF)
        }
    }

    func appendValues(to records: inout Records) { records.appendValue("ring", isGuest ? 0 : 3) }

    private func measured(_ benchmark: Nanobenchmark) -> NanobenchmarkResult {
        if isGuest { return Self.inRing0(benchmark, iterations) ?? NanobenchmarkResult() }
        var result = NanobenchmarkResult()
        if benchmark == .callReturn {
            let measured = vb_nano_call_return(iterations)
            result.cycles = measured.cycles
            result.check = measured.check
        } else {
            result.cycles = vb_nano_loop(iterations)
            result.check = iterations
        }
        return result
    }

    /// Nil where the kernel does not know the call.
    private static func inRing0(_ benchmark: Nanobenchmark, _ iterations: UInt64) -> NanobenchmarkResult? {
        var result = NanobenchmarkResult()
        let status = withUnsafeMutablePointer(to: &result) { result in
            vb_syscall3(
                Int64(Nanobenchmark.systemCall), Int64(benchmark.rawValue), Int64(iterations),
                Int64(Int(bitPattern: result)))
        }
        return status == 0 ? result : nil
    }
}
