import Support

typealias Program = MatrixProduct

@_silgen_name("vb_kernel_matmul_sse2")
private func matmulSSE2(
    _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ c: UnsafeMutablePointer<Double>, _ n: Int)

@_silgen_name("vb_kernel_matmul_avx2")
private func matmulAVX2(
    _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ c: UnsafeMutablePointer<Double>, _ n: Int)

/// Dense matrix product in double precision with SSE2 or AVX2.
struct MatrixProduct: Workload {
    static var name: StaticString { "matmul" }
    static var summary: StaticString { "dense matrix product in double precision, SSE2 or AVX2" }
    static var operation: StaticString { "multiply-add" }
    static var options: StaticString {
        """
          --size N        rows and columns, a multiple of 8 (default 192)
          --path P        auto, sse2 or avx2 (default auto: AVX2 where CPU and kernel have it)

        """
    }

    private let n: Int
    private let usesAVX2: Bool
    private let a: UnsafeMutablePointer<Double>
    private let b: UnsafeMutablePointer<Double>
    private let c: UnsafeMutablePointer<Double>
    private let expected: UInt64

    init(_ arguments: inout Arguments) {
        n = Int(arguments.number("--size", default: 192, in: 8...4096)) / 8 * 8
        switch arguments.choice("--path", ["auto", "sse2", "avx2"]) {
        case 1: usesAVX2 = false
        case 2:
            guard Self.hasAVX2 else {
                var message = Text()
                message.append("--path avx2: this CPU or kernel does not offer AVX2")
                usageError(message)
            }
            usesAVX2 = true
        default: usesAVX2 = Self.hasAVX2
        }
        let bytes = n * n * MemoryLayout<Double>.size
        a = Memory(bytes: bytes).doubles()
        b = Memory(bytes: bytes).doubles()
        c = Memory(bytes: bytes).doubles()
        var random = Random(seed: 3)
        for index in 0..<(n * n) {
            a[index] = Double(random.next() >> 11) * 0x1p-52 - 1
            b[index] = Double(random.next() >> 11) * 0x1p-52 - 1
        }
        expected = Self.scalarReference(a, b, n)
    }

    mutating func prepare(phase: Int) { c.update(repeating: 0, count: n * n) }

    mutating func run(phase: Int) -> UInt64 {
        if usesAVX2 { matmulAVX2(a, b, c, n) } else { matmulSSE2(a, b, c, n) }
        return UInt64(n * n * n)
    }

    mutating func outcome(phase: Int) -> Outcome {
        var got = Checksum()
        for index in 0..<(n * n) { got.mix(c[index].bitPattern) }
        return Outcome(got: got.value, expected: expected)
    }

    func appendValues(to records: inout Records) { records.appendValue("vectorBytes", usesAVX2 ? 32 : 16) }

    /// The same sums, one element at a time.
    private static func scalarReference(
        _ a: UnsafeMutablePointer<Double>, _ b: UnsafeMutablePointer<Double>, _ n: Int
    ) -> UInt64 {
        var sum = Checksum()
        for row in 0..<n {
            for column in 0..<n {
                var element = 0.0
                for k in 0..<n { element += a[row * n + k] * b[k * n + column] }
                sum.mix(element.bitPattern)
            }
        }
        return sum.value
    }

    /// AVX2 is usable when the CPU has it and the kernel switches its registers (Intel SDM vol. 1, 14.3): OSXSAVE and AVX,
    /// XCR0 with SSE and AVX state, then leaf 7.
    private static var hasAVX2: Bool {
        guard vb_cpuid(0, 0).eax >= 7 else { return false }
        let features = vb_cpuid(1, 0).ecx
        guard features & (1 << 27) != 0, features & (1 << 28) != 0 else { return false }
        guard vb_xcr0() & 0b110 == 0b110 else { return false }
        return vb_cpuid(7, 0).ebx & (1 << 5) != 0
    }
}
