import Support

/// Data to compress, the same for the same length: text of words that repeat as in a language, with lines of numbers and a little
/// noise between.
enum Corpus {
    private static let words = 4096

    static func fill(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) {
        var random = Random(seed: 1977)
        var lengths: [UInt8] = []
        var letters: [UInt8] = []
        for _ in 0..<words {
            let length = 2 + random.next(below: 5) + random.next(below: 5)
            lengths.append(UInt8(length))
            for _ in 0..<length {
                // The sum of two draws makes some letters frequent.
                letters.append(UInt8(ascii: "a") + UInt8(random.next(below: 13) + random.next(below: 14)))
            }
        }
        var starts: [Int] = []
        var start = 0
        for length in lengths {
            starts.append(start)
            start += Int(length)
        }
        var at = 0
        func put(_ byte: UInt8) {
            if at < count { bytes[at] = byte }
            at += 1
        }
        while at < count {
            switch random.next(below: 64) {
            case 0:
                var number = random.next(below: 1_000_000)
                while number > 0 {
                    put(UInt8(ascii: "0") + UInt8(number % 10))
                    number /= 10
                }
                put(UInt8(ascii: "\n"))
            case 1: put(UInt8(truncatingIfNeeded: random.next()))
            default:
                // A product of draws stands in for Zipf's law: few words make up most of the text.
                let draw = random.next(below: UInt64(words)) * random.next(below: UInt64(words))
                let word = Int(draw * random.next(below: UInt64(words)) / UInt64(words) / UInt64(words))
                for letter in starts[word]..<starts[word] + Int(lengths[word]) { put(letters[letter]) }
                put(UInt8(ascii: " "))
            }
        }
    }

    /// Digest of memory, eight bytes at a time.
    static func digest(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
        var sum = Checksum()
        let raw = UnsafeRawPointer(bytes)
        for offset in stride(from: 0, to: count & ~7, by: 8) {
            sum.mix(raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        for offset in (count & ~7)..<count { sum.mix(UInt64(bytes[offset])) }
        sum.mix(UInt64(count))
        return sum.value
    }
}
