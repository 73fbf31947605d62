import CZydis
import Translator

/// Bytes that need not be code, given to the translator alone: it must come back with a block that keeps to the rules (see
/// `EmittedCode`), or ask for more bytes.
public struct ArbitraryBytes {
    public struct Input: CustomStringConvertible {
        public var rip: UInt64
        public var bytes: [UInt8]

        /// One line of the corpus: address, bytes.
        public var description: String {
            String(rip, radix: 16) + " " + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }

        /// What `description` gave. Nil: not an input. Text behind `#` does not count.
        public init?(line: Substring) {
            let words = line.prefix { $0 != "#" }.split(separator: " ")
            guard words.count == 2, let rip = UInt64(words[0], radix: 16), words[1].utf8.count % 2 == 0 else {
                return nil
            }
            self.rip = rip
            bytes = []
            var rest = words[1]
            while !rest.isEmpty {
                guard let byte = UInt8(rest.prefix(2), radix: 16) else { return nil }
                bytes.append(byte)
                rest = rest.dropFirst(2)
            }
        }

        init(rip: UInt64, bytes: [UInt8]) {
            self.rip = rip
            self.bytes = bytes
        }
    }

    private var random: SeededGenerator
    private var generator: CaseGenerator
    private let corpus: [Input]
    private let translators: [(Translator, TranslationOptions.Privilege)]
    private static let window = DifferentialHarness.window

    public init(seed: UInt64, corpus: [Input]) {
        random = SeededGenerator(seed: seed)
        generator = CaseGenerator(seed: seed)
        self.corpus = corpus
        translators = [TranslationOptions.Privilege.supervisor, .user].flatMap { privilege in
            [1, 7, 64].map { limit in
                (
                    Translator(
                        layout: DifferentialHarness.layout,
                        options: TranslationOptions(
                            privilege: privilege, windowBase: Self.window, instructionLimit: limit,
                            alwaysExits: limit == 1 && privilege == .supervisor)),
                    privilege
                )
            }
        }
    }

    /// Nil: all is well.
    public func violation(in input: Input) -> String? {
        for (translator, privilege) in translators {
            let block: TranslatedBlock
            do throws(TranslationError) {
                block = try input.bytes.withUnsafeBufferPointer { (bytes) throws(TranslationError) in
                    try translator.translate(input.rip, bytes: bytes)
                }
            } catch {
                // Fifteen bytes hold any instruction.
                if input.bytes.count >= 15 { return "asks for more than \(input.bytes.count) bytes" }
                continue
            }
            if block.guestBytes > input.bytes.count || block.instructionCount > max(block.guestBytes, 1) {
                return
                    "claims \(block.instructionCount) instructions in \(block.guestBytes) of \(input.bytes.count) bytes"
            }
            do throws(EmittedCode.Violation) {
                try EmittedCode.check(block, DifferentialHarness.layout, privilege)
            } catch {
                return "\(privilege): \(error)"
            }
        }
        return nil
    }

    /// Another input: noise, code, or one of the corpus, changed here and there, cut anywhere, at any address.
    public mutating func next() -> Input {
        var bytes: [UInt8]
        switch random.below(4) {
        case 0: bytes = (0..<1 + random.below(64)).map { _ in random.byte() }
        case 1 where !corpus.isEmpty: bytes = random.pick(corpus).bytes
        default:
            bytes = generator.next(random.pick(generator.classes), companions: random.below(8))?.code ?? [0x90]
        }
        for _ in 0..<random.below(4) where !bytes.isEmpty {
            let at = random.below(bytes.count)
            switch random.below(5) {
            case 0: bytes[at] ^= 1 << UInt8(random.below(8))
            case 1: bytes[at] = random.byte()
            case 2:
                bytes.insert(
                    random.pick([0x26, 0x2E, 0x36, 0x3E, 0x48, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3]), at: at)
            case 3: bytes.remove(at: at)
            default: bytes.insert(contentsOf: bytes[at...].prefix(random.below(8)), at: at)
            }
        }
        if random.chance(20) { bytes.removeLast(random.below(bytes.count + 1)) }
        let rip: UInt64 =
            switch random.below(4) {
            case 0: 0x40_0000 + random.next() % 0x1000
            case 1: 0xFFFF_FFFF_8000_0000 + random.next() % 0x100_0000
            case 2: 0x0700_0000_0000 + random.next() % 0x1_0000_0000
            default: random.next()
            }
        return Input(rip: rip, bytes: bytes)
    }

    /// A failing input, shortened while it fails.
    public func shrink(_ input: Input) -> Input {
        var best = input
        var improved = true
        while improved {
            improved = false
            for at in best.bytes.indices {
                var candidate = best
                candidate.bytes.remove(at: at)
                if violation(in: candidate) != nil {
                    best = candidate
                    improved = true
                    break
                }
            }
        }
        return best
    }
}
