import Support

typealias Program = Hash

/// SHA-256 (FIPS 180-4) over a message of letters a, in plain Swift: rotations, additions, a dependency chain.
struct Hash: Workload {
    static var name: StaticString { "hash" }
    static var summary: StaticString { "SHA-256 in plain code, no special instructions" }
    static var operation: StaticString { "block of 64 bytes" }
    static var options: StaticString {
        "  --path P        long or short: a million letters a, or abc again and again (default long)\n"
    }

    /// Bytes of the long message: the one FIPS 180-2, appendix B.3, gives the digest of.
    private static let longBytes = 1_000_000
    private static let shortMessages = 1000

    private let isLong: Bool
    private let message: UnsafeMutablePointer<UInt8>
    private let messageBytes: Int
    private let schedule: UnsafeMutablePointer<UInt32>
    private let constants: UnsafeMutablePointer<UInt32>
    private var state = SIMD8<UInt32>()

    init(_ arguments: inout Arguments) {
        isLong = arguments.choice("--path", ["long", "short"]) == 0
        let text: StaticString = "abc"
        let length = isLong ? Self.longBytes : text.utf8CodeUnitCount
        // The padding: a one bit, zeros, the length in bits.
        messageBytes = (length + 9 + 63) / 64 * 64
        message = .allocate(capacity: messageBytes)
        message.initialize(repeating: 0, count: messageBytes)
        for index in 0..<length { message[index] = isLong ? UInt8(ascii: "a") : text.utf8Start[index] }
        message[length] = 0x80
        for index in 0..<8 {
            message[messageBytes - 1 - index] = UInt8(truncatingIfNeeded: (length * 8) >> (8 * index))
        }
        schedule = .allocate(capacity: 64)
        constants = .allocate(capacity: 64)
        Self.fillConstants(constants)
    }

    mutating func run(phase: Int) -> UInt64 {
        let messages = isLong ? 1 : Self.shortMessages
        for _ in 0..<messages {
            // FIPS 180-4, 5.3.3.
            state = SIMD8(
                0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19)
            for start in stride(from: 0, to: messageBytes, by: 64) { compress(message + start) }
            vb_keep(UInt64(state[0]))
        }
        return UInt64(messages * messageBytes / 64)
    }

    /// The digests that FIPS 180-2 prints (appendix B.1 and B.3).
    mutating func outcome(phase: Int) -> Outcome {
        var got = Checksum()
        var expected = Checksum()
        let long: [UInt32] = [
            0xCDC7_6E5C, 0x9914_FB92, 0x81A1_C7E2, 0x84D7_3E67, 0xF180_9A48, 0xA497_200E, 0x046D_39CC, 0xC711_2CD0,
        ]
        let short: [UInt32] = [
            0xBA78_16BF, 0x8F01_CFEA, 0x4141_40DE, 0x5DAE_2223, 0xB003_61A3, 0x9617_7A9C, 0xB410_FF61, 0xF200_15AD,
        ]
        for index in 0..<8 {
            got.mix(UInt64(state[index]))
            expected.mix(UInt64((isLong ? long : short)[index]))
        }
        return Outcome(got: got.value, expected: expected.value)
    }

    /// FIPS 180-4, 6.2.2.
    @inline(never)
    private mutating func compress(_ block: UnsafeMutablePointer<UInt8>) {
        for t in 0..<16 {
            let at = block + 4 &* t
            schedule[t] = UInt32(at[0]) << 24 | UInt32(at[1]) << 16 | UInt32(at[2]) << 8 | UInt32(at[3])
        }
        for t in 16..<64 {
            let early = schedule[t &- 15]
            let late = schedule[t &- 2]
            let s0 = Self.rotated(early, 7) ^ Self.rotated(early, 18) ^ early >> 3
            let s1 = Self.rotated(late, 17) ^ Self.rotated(late, 19) ^ late >> 10
            schedule[t] = s1 &+ schedule[t &- 7] &+ s0 &+ schedule[t &- 16]
        }
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for t in 0..<64 {
            let s1 = Self.rotated(e, 6) ^ Self.rotated(e, 11) ^ Self.rotated(e, 25)
            let first = h &+ s1 &+ (e & f ^ ~e & g) &+ constants[t] &+ schedule[t]
            let s0 = Self.rotated(a, 2) ^ Self.rotated(a, 13) ^ Self.rotated(a, 22)
            let second = s0 &+ (a & b ^ a & c ^ b & c)
            (h, g, f, e) = (g, f, e, d &+ first)
            (d, c, b, a) = (c, b, a, first &+ second)
        }
        state = state &+ SIMD8(a, b, c, d, e, f, g, h)
    }

    @inline(__always)
    private static func rotated(_ value: UInt32, _ bits: UInt32) -> UInt32 { value >> bits | value << (32 - bits) }

    /// The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2).
    private static func fillConstants(_ constants: UnsafeMutablePointer<UInt32>) {
        var number: UInt64 = 2
        var found = 0
        while found < 64 {
            var divisor: UInt64 = 2
            while divisor * divisor <= number, number % divisor != 0 { divisor += 1 }
            if divisor * divisor > number {
                constants[found] = UInt32(truncatingIfNeeded: cubeRoot(number))
                found += 1
            }
            number += 1
        }
    }

    /// ⌊∛number · 2^32⌋ for numbers below 512, bit by bit: the largest r with r³ ≤ number · 2^96.
    private static func cubeRoot(_ number: UInt64) -> UInt64 {
        var root: UInt64 = 0
        for bit in stride(from: UInt64(35), through: 0, by: -1) {
            let candidate = root | 1 << bit
            // 36 bits cubed are 108; the comparison drops 32 of them only after the carries are known.
            let square = candidate.multipliedFullWidth(by: candidate)
            let low = square.low.multipliedFullWidth(by: candidate)
            let high = square.high &* candidate &+ low.high
            // number · 2^96 is number · 2^32 in the high word.
            if high < number << 32 || (high == number << 32 && low.low == 0) { root = candidate }
        }
        return root
    }
}
