import GMPLibrary
import Support

typealias Program = Pi

/// A number of any size, owned by GMP. A class, because GMP takes its address and frees its memory.
final class BigNumber {
    let value: UnsafeMutablePointer<__mpz_struct>

    init(_ number: UInt = 0) {
        value = .allocate(capacity: 1)
        vb_mpz_init(value)
        if number != 0 { vb_mpz_set(value, number) }
    }

    deinit {
        vb_mpz_clear(value)
        value.deallocate()
    }
}

/// Digits of π by the Chudnovsky brothers' series and binary splitting: multiplications of growing numbers, a square root and a
/// division at the end.
struct Pi: Workload {
    static var name: StaticString { "gmp" }
    static var summary: StaticString { "GMP (libgmp): digits of pi by the Chudnovsky series" }
    static var operation: StaticString { "decimal digit" }
    static var options: StaticString { "  --digits N      decimal digits (default 10000)\n" }

    private let digits: UInt
    private let expected: UInt64
    private var got: UInt64 = 0

    init(_ arguments: inout Arguments) {
        digits = UInt(arguments.number("--digits", default: 10_000, in: 10...1_000_000))
        expected = Self.digest(Self.machin(digits))
    }

    mutating func run(phase: Int) -> UInt64 {
        got = Self.digest(chudnovsky())
        return UInt64(digits)
    }

    mutating func outcome(phase: Int) -> Outcome { Outcome(got: got, expected: expected) }

    private static func digest(_ number: BigNumber) -> UInt64 {
        var sum = Checksum()
        for index in 0..<vb_mpz_limbs(number.value) { sum.mix(UInt64(vb_mpz_limb(number.value, index))) }
        return sum.value
    }

    // MARK: The timed work

    /// ⌊π · 10^digits⌋. Each term of the series gives more than 14 digits; ten more digits keep the last ones exact.
    private func chudnovsky() -> BigNumber {
        let terms = digits / 14 + 2
        let (_, q, t) = split(1, terms)
        // π = 426880 √10005 Q / (13591409 Q + T).
        let scale = BigNumber()
        vb_mpz_power(scale.value, 10, 2 * (digits + 10))
        vb_mpz_mul_small(scale.value, scale.value, 10_005)
        vb_mpz_square_root(scale.value, scale.value)
        vb_mpz_mul_small(scale.value, scale.value, 426_880)
        vb_mpz_mul(scale.value, scale.value, q.value)
        vb_mpz_mul_small(q.value, q.value, 13_591_409)
        vb_mpz_add(q.value, q.value, t.value)
        vb_mpz_divide(scale.value, scale.value, q.value)
        vb_mpz_divide_small(scale.value, scale.value, 10_000_000_000)
        return scale
    }

    /// P, Q and T of terms [first, end) (Haible and Papanikolaou, Fast multiprecision evaluation of series of rational numbers).
    private func split(_ first: UInt, _ end: UInt) -> (p: BigNumber, q: BigNumber, t: BigNumber) {
        if end - first == 1 {
            let p = BigNumber(6 * first - 5)
            vb_mpz_mul_small(p.value, p.value, 2 * first - 1)
            vb_mpz_mul_small(p.value, p.value, 6 * first - 1)
            // 640320³ / 24.
            let q = BigNumber(10_939_058_860_032_000)
            for _ in 0..<3 { vb_mpz_mul_small(q.value, q.value, first) }
            let t = BigNumber(545_140_134)
            vb_mpz_mul_small(t.value, t.value, first)
            vb_mpz_add_small(t.value, t.value, 13_591_409)
            vb_mpz_mul(t.value, t.value, p.value)
            if first & 1 == 1 { vb_mpz_negate(t.value) }
            return (p, q, t)
        }
        let middle = first + (end - first) / 2
        let (leftP, leftQ, leftT) = split(first, middle)
        let (rightP, rightQ, rightT) = split(middle, end)
        // T = Tl Qr + Pl Tr.
        vb_mpz_mul(leftT.value, leftT.value, rightQ.value)
        vb_mpz_mul(rightT.value, rightT.value, leftP.value)
        vb_mpz_add(leftT.value, leftT.value, rightT.value)
        vb_mpz_mul(leftP.value, leftP.value, rightP.value)
        vb_mpz_mul(leftQ.value, leftQ.value, rightQ.value)
        return (leftP, leftQ, leftT)
    }

    // MARK: The check

    /// ⌊π · 10^digits⌋ by Machin's formula, π = 16 arctan 1/5 − 4 arctan 1/239.
    private static func machin(_ digits: UInt) -> BigNumber {
        let sum = arcTangent(5, digits + 10)
        vb_mpz_mul_small(sum.value, sum.value, 4)
        let small = arcTangent(239, digits + 10)
        vb_mpz_sub(sum.value, sum.value, small.value)
        vb_mpz_mul_small(sum.value, sum.value, 4)
        vb_mpz_divide_small(sum.value, sum.value, 10_000_000_000)
        return sum
    }

    /// arctan(1 / x) · 10^digits by its Taylor series, an error of a unit in the last place a term.
    private static func arcTangent(_ x: UInt, _ digits: UInt) -> BigNumber {
        let power = BigNumber()
        vb_mpz_power(power.value, 10, digits)
        vb_mpz_divide_small(power.value, power.value, x)
        let sum = BigNumber()
        let term = BigNumber()
        var odd: UInt = 1
        while vb_mpz_is_zero(power.value) == 0 {
            vb_mpz_divide_small(term.value, power.value, odd)
            if odd & 2 == 0 {
                vb_mpz_add(sum.value, sum.value, term.value)
            } else {
                vb_mpz_sub(sum.value, sum.value, term.value)
            }
            vb_mpz_divide_small(power.value, power.value, x * x)
            odd += 2
        }
        return sum
    }
}
