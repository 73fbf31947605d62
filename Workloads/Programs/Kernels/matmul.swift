// Matrix multiplication for one instruction set; compiled once for each (see build.sh). Each element of the product is
// summed in the order of k without fused operations, so that every variant gives the same bits as a scalar loop.

#if AVX2
    private typealias Vector = SIMD4<Double>
#else
    private typealias Vector = SIMD2<Double>
#endif

#if AVX2
    @_cdecl("vb_kernel_matmul_avx2")
    public func matmulAVX2(
        _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ c: UnsafeMutablePointer<Double>, _ n: Int
    ) { multiply(a, b, c, n) }
#else
    @_cdecl("vb_kernel_matmul_sse2")
    public func matmulSSE2(
        _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ c: UnsafeMutablePointer<Double>, _ n: Int
    ) { multiply(a, b, c, n) }
#endif

/// c = a · b for square matrices in row order; `n` is a multiple of 8.
@inline(__always)
private func multiply(
    _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ c: UnsafeMutablePointer<Double>, _ n: Int
) {
    let width = Vector.scalarCount
    var row = 0
    while row < n {
        let a0 = a + row &* n
        let a1 = a0 + n
        let a2 = a1 + n
        let a3 = a2 + n
        var column = 0
        while column < n {
            // A tile of four rows by two vectors stays in registers for the whole sum.
            var c00 = Vector.zero
            var c01 = Vector.zero
            var c10 = Vector.zero
            var c11 = Vector.zero
            var c20 = Vector.zero
            var c21 = Vector.zero
            var c30 = Vector.zero
            var c31 = Vector.zero
            var source = b + column
            for k in 0..<n {
                let b0 = load(source)
                let b1 = load(source + width)
                source += n
                let x0 = Vector(repeating: a0[k])
                c00 += x0 * b0
                c01 += x0 * b1
                let x1 = Vector(repeating: a1[k])
                c10 += x1 * b0
                c11 += x1 * b1
                let x2 = Vector(repeating: a2[k])
                c20 += x2 * b0
                c21 += x2 * b1
                let x3 = Vector(repeating: a3[k])
                c30 += x3 * b0
                c31 += x3 * b1
            }
            let target = c + (row &* n &+ column)
            store(c00, target)
            store(c01, target + width)
            store(c10, target + n)
            store(c11, target + n + width)
            store(c20, target + 2 &* n)
            store(c21, target + 2 &* n + width)
            store(c30, target + 3 &* n)
            store(c31, target + 3 &* n + width)
            column &+= 2 &* width
        }
        row &+= 4
    }
}

@inline(__always)
private func load(_ source: UnsafePointer<Double>) -> Vector {
    UnsafeRawPointer(source).loadUnaligned(as: Vector.self)
}

@inline(__always)
private func store(_ value: Vector, _ target: UnsafeMutablePointer<Double>) {
    UnsafeMutableRawPointer(target).storeBytes(of: value, as: Vector.self)
}
