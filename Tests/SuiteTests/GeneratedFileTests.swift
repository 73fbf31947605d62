import Testing

@testable import Suite

struct GeneratedFileTests {
    private func bytes(_ file: GeneratedFile) -> [UInt8] {
        var all: [UInt8] = []
        file.forEachChunk { all += $0 }
        return all
    }

    @Test(arguments: GeneratedFile.Kind.allCases, [0, 1, 65_535, 65_536, 200_001] as [UInt64])
    func hasExactlyTheLength(kind: GeneratedFile.Kind, length: UInt64) {
        #expect(bytes(GeneratedFile(kind: kind, bytes: length)).count == Int(length))
    }

    @Test(arguments: GeneratedFile.Kind.allCases)
    func aLongerFileBeginsLikeAShorterOne(kind: GeneratedFile.Kind) {
        let short = bytes(GeneratedFile(kind: kind, bytes: 100_000))
        let long = bytes(GeneratedFile(kind: kind, bytes: 300_000))
        #expect(long.starts(with: short))
    }

    @Test(arguments: [GeneratedFile.Kind.text, .numbers, .random])
    func anotherSeedIsAnotherFile(kind: GeneratedFile.Kind) {
        #expect(
            bytes(GeneratedFile(kind: kind, bytes: 1000, seed: 1))
                != bytes(GeneratedFile(kind: kind, bytes: 1000, seed: 2)))
    }

    /// Reference results are compared across versions: the bytes may never change. The first output of SplitMix64
    /// with seed 0 is the published 0xE220A8397B1DCDAF.
    @Test func bytesAreFixedForever() {
        #expect(
            bytes(GeneratedFile(kind: .random, bytes: 8, seed: 0)) == [0xAF, 0xCD, 0x1D, 0x7B, 0x39, 0xA8, 0x20, 0xE2])
        let number = String(UInt64(0xE220_A839_7B1D_CDAF) >> 24) + "\n"
        #expect(
            String(
                decoding: bytes(GeneratedFile(kind: .numbers, bytes: UInt64(number.utf8.count), seed: 0)), as: UTF8.self
            )
                == number)
    }

    @Test func numbersAreLinesOfNumbers() {
        let text = String(decoding: bytes(GeneratedFile(kind: .numbers, bytes: 50_000)), as: UTF8.self)
        let lines = text.split(separator: "\n").dropLast()
        #expect(lines.count > 3000)
        #expect(lines.allSatisfy { UInt64($0) != nil })
        #expect(Set(lines).count == lines.count)
    }

    @Test func randomBytesAreUniform() {
        var counts = [Int](repeating: 0, count: 256)
        for byte in bytes(GeneratedFile(kind: .random, bytes: 256_000)) { counts[Int(byte)] += 1 }
        let chiSquare = counts.reduce(0.0) { $0 + (Double($1) - 1000) * (Double($1) - 1000) / 1000 }
        // 99.9 % of chi-square with 255 degrees of freedom lie below 330.
        #expect(chiSquare < 330)
    }
}

struct SpellingTests {
    @Test(arguments: [
        ("trails", "trials"), ("memoryBytes", "memory"), ("Workload", "workloads"), ("stdIn", "stdin"),
        ("tmeLimit", "timeLimit"),
    ])
    func findsWhatWasMeant(word: String, meant: String) {
        #expect(
            Spelling.nearest(to: word, in: ["name", "trials", "memory", "workloads", "stdin", "timeLimit"]) == meant)
    }

    @Test func staysSilentWhenNothingIsNear() {
        #expect(Spelling.nearest(to: "colour", in: ["trials", "memory"]) == nil)
    }

    @Test func countsSwapsAsOne() {
        #expect(Spelling.editDistance("trails", "trials") == 1)
        #expect(Spelling.editDistance("", "abc") == 3)
        #expect(Spelling.editDistance("kitten", "sitting") == 3)
    }
}

struct QuantityTests {
    @Test(arguments: [
        ("128MiB", 134_217_728.0), ("0.5 GiB", 536_870_912), ("7B", 7), ("1KiB", 1024), ("2TiB", 2_199_023_255_552),
    ])
    func readsSizes(text: String, bytes: Double) {
        #expect(Quantity.bytes(text) == bytes)
    }

    @Test(arguments: ["", "MiB", "128", "128MB", "1e3B", "1 2B", "0x1B", "1MiB "])
    func refusesWhatIsNoSize(text: String) {
        #expect(Quantity.bytes(text) == nil)
    }

    @Test(arguments: [("500ms", 0.5), ("2s", 2), ("1.5min", 90), ("1h", 3600), ("250us", 250e-6), ("250µs", 250e-6)])
    func readsDurations(text: String, seconds: Double) {
        #expect(Quantity.seconds(text).map { abs($0 - seconds) < 1e-12 } == true)
    }

    @Test func writesTheLargestWholeUnit() {
        #expect(Quantity.text(bytes: 16 << 20) == "16MiB")
        #expect(Quantity.text(bytes: 1536) == "1536B")
        #expect(Quantity.text(bytes: 0) == "0B")
    }
}
