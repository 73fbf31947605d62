import Support

typealias Program = Fourier

/// Scalar floating point: a fast Fourier transform and its inverse, radix 2, in double precision.
struct Fourier: Workload {
    static var name: StaticString { "fourier" }
    static var summary: StaticString { "fast Fourier transform and its inverse, scalar double precision" }
    static var operation: StaticString { "butterfly" }
    static var options: StaticString {
        "  --points N      length of the transform, rounded down to a power of two (default 4096)\n"
    }

    private let bits: Int
    private let count: Int
    private let real: UnsafeMutablePointer<Double>
    private let imaginary: UnsafeMutablePointer<Double>
    /// cos and sin of -2πk/count for k below count / 2.
    private let cosines: UnsafeMutablePointer<Double>
    private let sines: UnsafeMutablePointer<Double>
    /// The input: whole numbers, so that the round trip can be compared exactly after rounding.
    private let input: UnsafeMutablePointer<Int32>
    private var energy = 0.0

    init(_ arguments: inout Arguments) {
        let points = arguments.number("--points", default: 4096, in: 8...(1 << 22))
        bits = 63 - points.leadingZeroBitCount
        count = 1 << bits
        real = .allocate(capacity: count)
        imaginary = .allocate(capacity: count)
        cosines = .allocate(capacity: count / 2)
        sines = .allocate(capacity: count / 2)
        input = .allocate(capacity: count)
        var random = Random(seed: 11)
        for index in 0..<count { input[index] = Int32(truncatingIfNeeded: random.next(below: 2001)) - 1000 }
        fillTwiddles()
    }

    mutating func prepare(phase: Int) {
        for index in 0..<count {
            real[index] = Double(input[index])
            imaginary[index] = 0
        }
    }

    mutating func run(phase: Int) -> UInt64 {
        transform(real, imaginary)
        var sum = 0.0
        for index in 0..<count { sum += real[index] * real[index] + imaginary[index] * imaginary[index] }
        energy = sum
        // The inverse is the transform with real and imaginary parts exchanged.
        transform(imaginary, real)
        return UInt64(count * bits)
    }

    /// The round trip must give the input back, and the spectrum must hold its energy (Parseval's theorem).
    mutating func outcome(phase: Int) -> Outcome {
        var got = Checksum()
        var expected = Checksum()
        var inputEnergy = 0.0
        for index in 0..<count {
            got.mix(Self.rounded(real[index] / Double(count)))
            expected.mix(UInt64(bitPattern: Int64(input[index])))
            inputEnergy += Double(input[index]) * Double(input[index])
        }
        let ratio = energy / (inputEnergy * Double(count))
        got.mix(ratio > 1 - 1e-9 && ratio < 1 + 1e-9 ? 1 : 0)
        expected.mix(1)
        return Outcome(got: got.value, expected: expected.value)
    }

    private static func rounded(_ value: Double) -> UInt64 {
        guard value > -1e9, value < 1e9 else { return .max }
        return UInt64(bitPattern: Int64(value < 0 ? value - 0.5 : value + 0.5))
    }

    /// Decimation in time: bit reversal, then butterflies of growing span.
    @inline(never)
    private func transform(_ real: UnsafeMutablePointer<Double>, _ imaginary: UnsafeMutablePointer<Double>) {
        var reversed = 0
        for index in 1..<count {
            var bit = count >> 1
            while reversed & bit != 0 {
                reversed ^= bit
                bit >>= 1
            }
            reversed |= bit
            if index < reversed {
                (real[index], real[reversed]) = (real[reversed], real[index])
                (imaginary[index], imaginary[reversed]) = (imaginary[reversed], imaginary[index])
            }
        }
        var half = 1
        while half < count {
            let step = count / (2 &* half)
            var start = 0
            while start < count {
                for k in 0..<half {
                    let cosine = cosines[k &* step]
                    let sine = sines[k &* step]
                    let a = start &+ k
                    let b = a &+ half
                    let x = real[b] * cosine - imaginary[b] * sine
                    let y = real[b] * sine + imaginary[b] * cosine
                    real[b] = real[a] - x
                    imaginary[b] = imaginary[a] - y
                    real[a] += x
                    imaginary[a] += y
                }
                start &+= 2 &* half
            }
            half &*= 2
        }
    }

    /// Angles by halving: cos(a/2) = √((1 + cos a) / 2) and sin(a/2) = sin a / (2 cos(a/2)), then by products of known ones.
    private func fillTwiddles() {
        cosines[0] = 1
        sines[0] = 0
        // The angle -π/2 belongs to index count / 4.
        var cosine = 0.0
        var sine = -1.0
        var index = count / 4
        while index > 0 {
            cosines[index] = cosine
            sines[index] = sine
            let next = vb_square_root((1 + cosine) / 2)
            sine /= 2 * next
            cosine = next
            index /= 2
        }
        for index in 1..<(count / 2) {
            // The highest bit's angle plus that of the rest.
            let high = 1 << (63 - UInt64(index).leadingZeroBitCount)
            let rest = index - high
            guard rest != 0 else { continue }
            cosines[index] = cosines[high] * cosines[rest] - sines[high] * sines[rest]
            sines[index] = sines[high] * cosines[rest] + cosines[high] * sines[rest]
        }
    }
}
