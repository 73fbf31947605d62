import Support

typealias Program = Strings

/// Text work by the C library's string functions: split into words, look them up, copy them.
struct Strings: Workload {
    static var name: StaticString { "strings" }
    static var summary: StaticString { "memchr, strcmp, strlen and memcpy of the C library on words of a text" }
    static var operation: StaticString { "word" }
    static var options: StaticString { "  --operations M  words of the text (default 20000)\n" }

    private static let dictionaryWords = 512
    private static let space = UInt8(ascii: " ")

    private let words: Int
    /// Words separated by single spaces, one at the end.
    private let text: UnsafeMutablePointer<UInt8>
    private let textBytes: Int
    /// Sorted C strings.
    private let dictionary: UnsafeMutablePointer<UnsafeMutablePointer<CChar>>
    private let copy: UnsafeMutablePointer<UInt8>
    private let word: UnsafeMutablePointer<CChar>
    private let expected: UInt64
    private var got: UInt64 = 0

    init(_ arguments: inout Arguments) {
        words = Int(arguments.number("--operations", default: 20_000, in: 1...(1 << 24)))
        dictionary = Self.makeDictionary()
        text = .allocate(capacity: words * 16)
        copy = .allocate(capacity: words * 16)
        word = .allocate(capacity: 16)
        var random = Random(seed: 21)
        var bytes = 0
        for _ in 0..<words {
            if random.next() & 1 == 0 {
                let known = dictionary[Int(random.next(below: UInt64(Self.dictionaryWords)))]
                var index = 0
                while known[index] != 0 {
                    text[bytes] = UInt8(bitPattern: known[index])
                    bytes += 1
                    index += 1
                }
            } else {
                bytes += Self.makeWord(&random, text + bytes)
            }
            text[bytes] = Self.space
            bytes += 1
        }
        textBytes = bytes
        expected = Self.reference(text, bytes, dictionary)
    }

    mutating func run(phase: Int) -> UInt64 {
        var sum = Checksum()
        var next = text
        let end = text + textBytes
        var target = copy
        var found: UInt64 = 0
        while next < end, let space = memchr(next, Int32(Self.space), end - next) {
            let length = UnsafeMutableRawPointer(next).distance(to: space)
            memcpy(word, next, length)
            word[length] = 0
            if contains(word) { found &+= 1 }
            sum.mix(UInt64(strlen(word)))
            memcpy(target, word, length)
            target += length
            next += length &+ 1
        }
        sum.mix(found)
        var tail = copy
        while tail < target {
            sum.mix(UInt64(tail.pointee))
            tail += 7
        }
        got = sum.value
        return UInt64(words)
    }

    mutating func outcome(phase: Int) -> Outcome { Outcome(got: got, expected: expected) }

    private func contains(_ word: UnsafeMutablePointer<CChar>) -> Bool {
        var low = 0
        var high = Self.dictionaryWords
        while low < high {
            let middle = (low &+ high) / 2
            let order = strcmp(word, dictionary[middle])
            if order == 0 { return true }
            if order < 0 { high = middle } else { low = middle &+ 1 }
        }
        return false
    }

    /// The same byte by byte, looking at every entry of the dictionary.
    private static func reference(
        _ text: UnsafeMutablePointer<UInt8>, _ bytes: Int,
        _ dictionary: UnsafeMutablePointer<UnsafeMutablePointer<CChar>>
    ) -> UInt64 {
        var sum = Checksum()
        var letters: [UInt8] = []
        letters.reserveCapacity(bytes)
        var start = 0
        var found: UInt64 = 0
        for index in 0..<bytes {
            guard text[index] == space else {
                letters.append(text[index])
                continue
            }
            let length = index - start
            for entry in 0..<dictionaryWords where isEqual(dictionary[entry], text + start, length) {
                found += 1
                break
            }
            sum.mix(UInt64(length))
            start = index + 1
        }
        sum.mix(found)
        for index in stride(from: 0, to: letters.count, by: 7) { sum.mix(UInt64(letters[index])) }
        return sum.value
    }

    private static func isEqual(_ a: UnsafeMutablePointer<CChar>, _ b: UnsafeMutablePointer<UInt8>, _ length: Int)
        -> Bool
    {
        for index in 0..<length where UInt8(bitPattern: a[index]) != b[index] { return false }
        return a[length] == 0
    }

    /// Three to twelve letters of a small alphabet, so that many words share their beginnings. Returns the length.
    private static func makeWord(_ random: inout Random, _ target: UnsafeMutablePointer<UInt8>) -> Int {
        let length = 3 + Int(random.next(below: 10))
        for index in 0..<length { target[index] = UInt8(ascii: "a") + UInt8(truncatingIfNeeded: random.next(below: 4)) }
        return length
    }

    private static func makeDictionary() -> UnsafeMutablePointer<UnsafeMutablePointer<CChar>> {
        let dictionary = UnsafeMutablePointer<UnsafeMutablePointer<CChar>>.allocate(capacity: dictionaryWords)
        var random = Random(seed: 20)
        for index in 0..<dictionaryWords {
            let entry = UnsafeMutablePointer<CChar>.allocate(capacity: 16)
            entry.withMemoryRebound(to: UInt8.self, capacity: 16) { bytes in
                let length = makeWord(&random, bytes)
                bytes[length] = 0
            }
            // Insertion keeps it sorted.
            var place = index
            while place > 0, isBefore(entry, dictionary[place - 1]) {
                dictionary[place] = dictionary[place - 1]
                place -= 1
            }
            dictionary[place] = entry
        }
        return dictionary
    }

    private static func isBefore(_ a: UnsafeMutablePointer<CChar>, _ b: UnsafeMutablePointer<CChar>) -> Bool {
        var index = 0
        while a[index] != 0, a[index] == b[index] { index += 1 }
        return a[index] < b[index]
    }
}
