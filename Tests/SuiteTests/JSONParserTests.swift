import Testing

@testable import Suite

struct JSONParserTests {
    private func parse(_ text: String) throws -> JSONNode { try JSONParser.parse(Array(text.utf8)) }

    @Test func keepsPositionsOrderNumbersAndDuplicates() throws {
        let node = try parse("{\n  \"b\": [1, -2.50e+3],\n  \"a\": null, \"b\": \"x\"\n}")
        guard case .object(let members) = node.value else {
            Issue.record("not an object")
            return
        }
        #expect(members.map(\.key) == ["b", "a", "b"])
        #expect(members.map(\.keyPosition.line) == [2, 3, 3])
        #expect(members[2].keyPosition == SourcePosition(line: 3, column: 14))
        #expect(members[1].node == JSONNode(position: SourcePosition(line: 3, column: 8), value: .null))
        guard case .array(let numbers) = members[0].node.value else {
            Issue.record("not an array")
            return
        }
        #expect(numbers.map(\.value) == [.number("1"), .number("-2.50e+3")])
        #expect(numbers[1].position == SourcePosition(line: 2, column: 12))
    }

    @Test func readsEscapes() throws {
        let node = try parse(#""\"\\\/\b\f\n\r\tA\u00e9\ud83d\ude00é""#)
        #expect(node.value == .string("\"\\/\u{8}\u{C}\n\r\tAé😀é"))
    }

    @Test func skipsAByteOrderMark() throws {
        #expect(try parse("\u{FEFF}[]").value == .array([]))
    }

    @Test(arguments: [
        ("", 1, 1, "empty"),
        ("  \n ", 2, 2, "empty"),
        ("{", 1, 2, "truncated"),
        ("{\"a\": 1,}", 1, 9, "comma"),
        ("[1, 2,\n]", 2, 1, "comma"),
        ("{'a': 1}", 1, 2, "double quotes"),
        ("{a: 1}", 1, 2, "key in double quotes"),
        ("{\"a\" 1}", 1, 6, "\":\""),
        ("{\"a\": 1 \"b\": 2}", 1, 9, "\",\" or \"}\""),
        ("[1 2]", 1, 4, "\",\" or \"]\""),
        ("// no\n{}", 1, 1, "comments"),
        ("{} {}", 1, 4, "after the end"),
        ("[True]", 1, 2, "write true"),
        ("[nan]", 1, 2, "not a JSON value"),
        ("[01]", 1, 2, "leading zero"),
        ("[0x10]", 1, 2, "decimal"),
        ("[128MiB]", 1, 2, "written as a string"),
        ("[1.]", 1, 4, "digit"),
        ("[-]", 1, 3, "digit"),
        ("[1e]", 1, 4, "exponent"),
        ("[\"abc", 1, 2, "closing quote"),
        ("[\"a\nb\"]", 1, 2, "does not end on its line"),
        ("[\"a\tb\"]", 1, 4, "control character U+9"),
        ("[\"\\x\"]", 1, 3, "unknown escape"),
        ("[\"\\ud800\"]", 1, 3, "surrogate"),
        ("[\"\\u12g4\"]", 1, 7, "hexadecimal"),
    ])
    func saysWhatIsWrongAndWhere(text: String, line: Int, column: Int, words: String) {
        let error = #expect(throws: JSONParser.SyntaxError.self) { try parse(text) }
        #expect(error?.position == SourcePosition(line: line, column: column), "\(text)")
        #expect(
            error.map { "\($0.message); \($0.suggestion ?? "")".contains(words) } == true, "\(text): \(error as Any)")
    }

    @Test func refusesTextThatIsNotUTF8() {
        let error = #expect(throws: JSONParser.SyntaxError.self) {
            try JSONParser.parse(Array("{\n \"a\": \"".utf8) + [0xC3, 0x28] + Array("\"}".utf8))
        }
        #expect(error?.position.line == 2)
        let utf16 = #expect(throws: JSONParser.SyntaxError.self) { try JSONParser.parse([0xFF, 0xFE, 0x7B, 0]) }
        #expect(utf16?.message.contains("UTF-16") == true)
    }

    @Test func refusesNestingThatWouldExhaustTheStack() {
        let deep = String(repeating: "[", count: 1_000_000)
        let error = #expect(throws: JSONParser.SyntaxError.self) { try parse(deep) }
        #expect(error?.message.contains("deeper") == true)
        #expect(throws: Never.self) {
            try parse(String(repeating: "[", count: 64) + "1" + String(repeating: "]", count: 64))
        }
    }

    @Test func escapesKeysInPaths() {
        #expect(JSONPath.root.key("workloads").index(2).key("a b").description == "$.workloads[2]['a b']")
        #expect(JSONPath.root.key("it's").description == "$['it\\'s']")
        #expect(JSONPath.root.key("").description == "$['']")
    }
}
