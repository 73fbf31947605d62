import CZydis

/// Where a case's code and data are in the guest.
///
///     code   2 pages, readable and executable; what the case does not fill is HLT, which ends it
///     data   2 pages to read and write (the stack too), then one to read only, then nothing
public struct TestLayout: Sendable, Equatable {
    public var name: String
    public var code: UInt64
    public var data: UInt64
    /// The case may write to its code: only whole machines run such cases.
    public var writableCode = false

    public static let codeBytes = 8192
    public static let dataBytes = 8192
    public static let readOnlyBytes = 4096

    /// Addresses that fit in 32 bits, so that absolute forms reach them.
    public static let low = TestLayout(name: "low", code: 0x1000_0000, data: 0x2000_0000)
    /// Addresses that do not.
    public static let high = TestLayout(name: "high", code: 0x0700_0000_0000, data: 0x0700_1000_0000)
    public static let all = [low, high]
    public static let selfModifying = TestLayout(
        name: "writable", code: 0x1800_0000, data: 0x2800_0000, writableCode: true)

    func codeContains(_ address: UInt64) -> Bool { address &- code < UInt64(Self.codeBytes) }
}

/// Instructions and the seed of the state they start from: all that a run depends on.
public struct TestCase: Sendable, Equatable, CustomStringConvertible {
    public var layout: TestLayout
    public var seed: UInt64
    public var code: [UInt8]

    public init(layout: TestLayout, seed: UInt64, code: [UInt8]) {
        self.layout = layout
        self.seed = seed
        self.code = code
    }

    /// One line of a corpus file: layout, seed, bytes.
    public var description: String {
        "\(layout.name) \(String(seed, radix: 16)) \(code.map(Self.hex).joined())"
    }

    /// What `description` gave. Nil: not a case. Text behind `#` does not count.
    public init?(line: Substring) {
        let words = line.prefix { $0 != "#" }.split(separator: " ")
        guard words.count == 3, let layout = (TestLayout.all + [.selfModifying]).first(where: { $0.name == words[0] }),
            let seed = UInt64(words[1], radix: 16), words[2].count % 2 == 0
        else { return nil }
        var code: [UInt8] = []
        var rest = words[2]
        while !rest.isEmpty {
            guard let byte = UInt8(rest.prefix(2), radix: 16) else { return nil }
            code.append(byte)
            rest = rest.dropFirst(2)
        }
        self.init(layout: layout, seed: seed, code: code)
    }

    private static func hex(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16) }

    /// The instructions one after the other, as far as they decode.
    public var disassembly: [String] {
        var lines: [String] = []
        var position = 0
        while position < code.count {
            var instruction = ZydisDisassembledInstruction()
            let status = code[position...].withUnsafeBytes {
                ZydisDisassembleIntel(
                    ZYDIS_MACHINE_MODE_LONG_64, layout.code + UInt64(position), $0.baseAddress, ZyanUSize($0.count),
                    &instruction)
            }
            guard status & 0x8000_0000 == 0 else { return lines + ["(bad)"] }
            let text = withUnsafeBytes(of: &instruction.text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            let bytes = code[position..<min(code.count, position + Int(instruction.info.length))]
            lines.append(text + "  [" + bytes.map(Self.hex).joined(separator: " ") + "]")
            position += Int(instruction.info.length)
        }
        return lines
    }
}
