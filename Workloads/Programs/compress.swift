import Support

typealias Program = Compress

/// Compression by references to earlier text (Lempel and Ziv 1977, hash chains) and decompression.
struct Compress: Workload {
    static var name: StaticString { "compress" }
    static var summary: StaticString { "compression of text by references to what came before, and back" }
    static var operation: StaticString { "byte" }
    static var options: StaticString { "  --bytes B       length of the text (default 256K)\n" }

    private static let shortest = 4
    private static let longest = 130
    private static let window = 1 << 15
    private static let hashBits: UInt32 = 14
    /// Candidates looked at for a match.
    private static let patience = 16

    private let bytes: Int
    private let text: UnsafeMutablePointer<UInt8>
    private let packed: UnsafeMutablePointer<UInt8>
    private let unpacked: UnsafeMutablePointer<UInt8>
    /// Last place of each hash, and the one before each place; -1 ends a chain.
    private let heads: UnsafeMutablePointer<Int32>
    private let earlier: UnsafeMutablePointer<Int32>
    private var packedBytes = 0
    private var unpackedBytes = 0

    init(_ arguments: inout Arguments) {
        bytes = Int(arguments.number("--bytes", default: 256 << 10, in: 1024...(1 << 28)))
        text = .allocate(capacity: bytes)
        // At worst every byte is a literal, with a count for each 128 of them.
        packed = .allocate(capacity: bytes + bytes / 128 + 16)
        unpacked = .allocate(capacity: bytes)
        heads = .allocate(capacity: 1 << Int(Self.hashBits))
        earlier = .allocate(capacity: Self.window)
        Self.fill(text, bytes)
    }

    mutating func prepare(phase: Int) { unpacked.update(repeating: 0, count: bytes) }

    mutating func run(phase: Int) -> UInt64 {
        packedBytes = pack()
        unpackedBytes = unpack()
        return UInt64(bytes)
    }

    /// The text must come back, out of less than three quarters of its bytes.
    mutating func outcome(phase: Int) -> Outcome {
        var got = Checksum()
        var expected = Checksum()
        for index in 0..<bytes {
            got.mix(UInt64(unpacked[index]))
            expected.mix(UInt64(text[index]))
        }
        got.mix(UInt64(unpackedBytes))
        expected.mix(UInt64(bytes))
        got.mix(packedBytes < bytes / 4 * 3 ? 1 : 0)
        expected.mix(1)
        return Outcome(got: got.value, expected: expected.value)
    }

    func appendValues(to records: inout Records) { records.appendValue("packedBytes", UInt64(packedBytes)) }

    // MARK: The timed work
    //
    // Packed text: a byte n below 128 and n + 1 literals, or a byte 128 + length - 4 and the distance in two bytes.

    private func pack() -> Int {
        heads.update(repeating: -1, count: 1 << Int(Self.hashBits))
        var target = 0
        var literals = 0
        var at = 0
        while at < bytes {
            var length = 0
            var distance = 0
            if at &+ Self.shortest <= bytes {
                let hash = hash(at)
                var candidate = Int(heads[hash])
                var left = Self.patience
                while candidate >= 0, at &- candidate < Self.window, left > 0 {
                    let common = commonBytes(candidate, at)
                    if common > length {
                        length = common
                        distance = at &- candidate
                    }
                    candidate = Int(earlier[candidate & (Self.window &- 1)])
                    left &-= 1
                }
                insert(at, hash)
            }
            if length >= Self.shortest {
                target = putLiterals(from: at &- literals, literals, target)
                literals = 0
                packed[target] = UInt8(truncatingIfNeeded: 128 &+ length &- Self.shortest)
                packed[target &+ 1] = UInt8(truncatingIfNeeded: distance)
                packed[target &+ 2] = UInt8(truncatingIfNeeded: distance >> 8)
                target &+= 3
                let end = at &+ length
                at &+= 1
                while at < end {
                    if at &+ Self.shortest <= bytes { insert(at, hash(at)) }
                    at &+= 1
                }
            } else {
                literals &+= 1
                at &+= 1
            }
        }
        return putLiterals(from: bytes &- literals, literals, target)
    }

    private func putLiterals(from start: Int, _ count: Int, _ target: Int) -> Int {
        var source = start
        var left = count
        var target = target
        while left > 0 {
            let piece = left < 128 ? left : 128
            packed[target] = UInt8(truncatingIfNeeded: piece &- 1)
            memcpy(packed + target + 1, text + source, piece)
            target &+= piece &+ 1
            source &+= piece
            left &-= piece
        }
        return target
    }

    @inline(__always)
    private func hash(_ at: Int) -> Int {
        let word = UnsafeRawPointer(text + at).loadUnaligned(as: UInt32.self)
        return Int((word &* 0x9E37_79B1) >> (32 &- Self.hashBits))
    }

    @inline(__always)
    private func insert(_ at: Int, _ hash: Int) {
        earlier[at & (Self.window &- 1)] = heads[hash]
        heads[hash] = Int32(truncatingIfNeeded: at)
    }

    @inline(__always)
    private func commonBytes(_ a: Int, _ b: Int) -> Int {
        let limit = bytes &- b < Self.longest ? bytes &- b : Self.longest
        var length = 0
        while length < limit, text[a &+ length] == text[b &+ length] { length &+= 1 }
        return length
    }

    private func unpack() -> Int {
        var source = 0
        var target = 0
        while source < packedBytes {
            let head = Int(packed[source])
            if head < 128 {
                guard target &+ head < bytes else { return 0 }
                memcpy(unpacked + target, packed + source + 1, head &+ 1)
                source &+= head &+ 2
                target &+= head &+ 1
            } else {
                let length = head &- 128 &+ Self.shortest
                let distance = Int(packed[source &+ 1]) | Int(packed[source &+ 2]) << 8
                guard distance > 0, distance <= target, target &+ length <= bytes else { return 0 }
                // Byte by byte: the reference may reach into what it makes.
                for index in 0..<length { unpacked[target &+ index] = unpacked[target &+ index &- distance] }
                source &+= 3
                target &+= length
            }
        }
        return target
    }

    /// Words of a made-up language, the short ones more often than the long.
    private static func fill(_ text: UnsafeMutablePointer<UInt8>, _ bytes: Int) {
        let letters: StaticString = "etaoinshrdlucmfw"
        var random = Random(seed: 31)
        var at = 0
        while at < bytes {
            // The smaller of two draws out of 2000 words, each made from its own number.
            let number = min(random.next(below: 2000), random.next(below: 2000))
            var word = Random(seed: number)
            let length = 2 + Int(word.next(below: 8))
            for _ in 0..<length where at < bytes {
                text[at] = letters.utf8Start[Int(word.next(below: 16))]
                at += 1
            }
            if at < bytes {
                text[at] = UInt8(ascii: " ")
                at += 1
            }
        }
    }
}
