import CPU

/// The guest's random numbers: xoshiro256** (Blackman and Vigna, 2018), seeded by the host, so that a trial can be
/// repeated. Nothing here is secret.
enum RandomNumbers {
    nonisolated(unsafe) private static var s0: UInt64 = 1
    nonisolated(unsafe) private static var s1: UInt64 = 2
    nonisolated(unsafe) private static var s2: UInt64 = 3
    nonisolated(unsafe) private static var s3: UInt64 = 4

    static func seed(_ first: UInt64, _ second: UInt64) {
        var state = first
        s0 = splitMix(&state)
        s1 = splitMix(&state)
        state ^= second
        s2 = splitMix(&state)
        s3 = splitMix(&state) | 1
    }

    private static func splitMix(_ state: inout UInt64) -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    static func next() -> UInt64 {
        let product = s1 &* 5
        let result = (product << 7 | product >> 57) &* 9
        let shifted = s1 << 17
        s2 ^= s0
        s3 ^= s1
        s1 ^= s2
        s0 ^= s3
        s2 ^= shifted
        s3 = s3 << 45 | s3 >> 19
        return result
    }

    /// Fills user memory. Bytes written, or a negative error number.
    static func fill(_ address: UInt64, _ bytes: UInt64) -> Int {
        var done: UInt64 = 0
        while done < bytes {
            var word = next()
            let count = bytes &- done < 8 ? bytes &- done : 8
            if !UserMemory.copyOut(address &+ done, &word, count) { return done == 0 ? -EFAULT : Int(done) }
            done &+= count
        }
        return Int(done)
    }
}
