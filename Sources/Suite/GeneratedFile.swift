/// A file made from a seed: the same bytes on every host and every run.
public struct GeneratedFile: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable, CaseIterable {
        /// Lines of words from a small vocabulary with a skewed frequency: compresses about as prose does.
        case text
        /// Lines of decimal numbers, for sorting.
        case numbers
        /// Uniform bytes: does not compress.
        case random
        case zeros
    }

    public var kind: Kind
    /// Length of the file.
    public var bytes: UInt64
    public var seed: UInt64

    public init(kind: Kind, bytes: UInt64, seed: UInt64 = 1) {
        self.kind = kind
        self.bytes = bytes
        self.seed = seed
    }

    /// Makes the file piece by piece, so that a large one needs no memory.
    ///
    /// - Parameter body: called with up to 64 KiB at a time, in order.
    /// - Throws: what `body` throws.
    public func forEachChunk<Failure: Error>(_ body: ([UInt8]) throws(Failure) -> Void) throws(Failure) {
        var generator = SplitMix64(seed: seed)
        var chunk: [UInt8] = []
        chunk.reserveCapacity(Self.chunkBytes + 128)
        var left = bytes
        while left > 0 {
            while chunk.count < Self.chunkBytes { appendUnit(to: &chunk, &generator) }
            let taken = Int(min(left, UInt64(Self.chunkBytes)))
            try body(Array(chunk[..<taken]))
            chunk.removeFirst(taken)
            left -= UInt64(taken)
        }
    }

    private static let chunkBytes = 64 << 10

    /// Appends a line, or a few bytes.
    private func appendUnit(to chunk: inout [UInt8], _ generator: inout SplitMix64) {
        switch kind {
        case .zeros:
            chunk.append(contentsOf: repeatElement(0, count: 4096))
        case .random:
            withUnsafeBytes(of: generator.next().littleEndian) { chunk.append(contentsOf: $0) }
        case .numbers:
            chunk.append(contentsOf: String(generator.next() >> 24).utf8)
            chunk.append(0x0A)
        case .text:
            for word in 0..<(6 + Int(generator.next() % 7)) {
                if word > 0 { chunk.append(0x20) }
                // The smaller of two draws favours the front of the list, roughly as word frequencies fall.
                let draw = generator.next()
                let count = UInt64(Self.words.count)
                chunk.append(contentsOf: Self.words[Int(min(draw % count, (draw >> 32) % count))].utf8)
            }
            chunk.append(0x0A)
        }
    }

    private static let words = """
        the of and a to in is was he for it with as his on be at by had not are but from or have an they which one you were \
        her all she there would their we him been has when who will more no if out so said what up its about into than them \
        can only other new some could time these two may then do first any my now such like our over man me even most made \
        after also did many before must through back years where much your way well down should because each just those \
        people how too little state good very make world still own see men work long get here between both life being under \
        never day same another know while last might us great old year off come since against go came right used take three \
        page table memory guest host kernel trap exit fault shadow cache block translate register interrupt timer process
        """.split(separator: " ").map(String.init)
}

/// Sebastiano Vigna's SplitMix64 (https://prng.di.unimi.it/splitmix64.c), here so that generated files never depend
/// on a library.
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
