/// A strict JSON reader (RFC 8259) that keeps positions, number texts and duplicate keys, all of which Foundation's
/// loses and a message to a person needs.
struct JSONParser {
    /// What is wrong with the text, and where.
    struct SyntaxError: Error, Equatable {
        var position: SourcePosition
        var message: String
        var suggestion: String?
    }

    /// Deeper nesting than this is refused, so that hostile input cannot exhaust the stack.
    static let maximumDepth = 64

    private let scalars: [Unicode.Scalar]
    private var index = 0
    private var line = 1
    private var column = 1

    private init(_ scalars: [Unicode.Scalar]) {
        self.scalars = scalars
    }

    /// Parses one document.
    static func parse(_ bytes: [UInt8]) throws(SyntaxError) -> JSONNode {
        let text = try decode(bytes)
        var parser = JSONParser(Array(text.unicodeScalars))
        parser.skipSpace()
        if parser.peek == nil {
            throw parser.error("the file is empty", "write a JSON object: { \"name\": …, \"workloads\": [ … ] }")
        }
        let node = try parser.value(depth: 0)
        parser.skipSpace()
        if let extra = parser.peek {
            throw parser.error("\(quoted(extra)) after the end of the document", "remove it")
        }
        return node
    }

    private static func decode(_ bytes: [UInt8]) throws(SyntaxError) -> String {
        if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
            throw SyntaxError(
                position: SourcePosition(line: 1, column: 1), message: "the file is UTF-16",
                suggestion: "save it as UTF-8")
        }
        let body = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(bytes.dropFirst(3)) : bytes
        if let text = String(validating: body, as: UTF8.self) { return text }
        // Find the first line that is not UTF-8: a newline byte is never part of a longer sequence.
        var line = 1
        for part in body.split(separator: 0x0A, omittingEmptySubsequences: false) {
            if String(validating: part, as: UTF8.self) == nil { break }
            line += 1
        }
        throw SyntaxError(
            position: SourcePosition(line: line, column: 1), message: "the line is not UTF-8 text",
            suggestion: "save the file as UTF-8")
    }

    // MARK: Scanning

    private var peek: Unicode.Scalar? { index < scalars.count ? scalars[index] : nil }

    private var position: SourcePosition { SourcePosition(line: line, column: column) }

    private mutating func advance() {
        if scalars[index] == "\n" {
            line += 1
            column = 1
        } else {
            column += 1
        }
        index += 1
    }

    private mutating func skipSpace() {
        while let scalar = peek, scalar == " " || scalar == "\n" || scalar == "\r" || scalar == "\t" { advance() }
    }

    private func error(_ message: String, _ suggestion: String? = nil) -> SyntaxError {
        SyntaxError(position: position, message: message, suggestion: suggestion)
    }

    private static func quoted(_ scalar: Unicode.Scalar) -> String {
        scalar.value < 0x20 || scalar.value == 0x7F
            ? "control character U+" + String(scalar.value, radix: 16, uppercase: true) : "\"\(scalar)\""
    }

    private func unexpected(_ expected: String) -> SyntaxError {
        guard let scalar = peek else {
            return error("the file ends where \(expected) is expected", "is the file truncated?")
        }
        let suggestion: String? =
            switch scalar {
            case "'": "strings are written in double quotes"
            case "/", "#": "JSON has no comments"
            case "\u{201C}", "\u{201D}": "use plain double quotes"
            case "=": "use \":\""
            default: nil
            }
        return error("\(Self.quoted(scalar)) where \(expected) is expected", suggestion)
    }

    // MARK: Values

    private mutating func value(depth: Int) throws(SyntaxError) -> JSONNode {
        if depth > Self.maximumDepth { throw error("nested deeper than \(Self.maximumDepth) levels") }
        let start = position
        let value: JSONValue
        switch peek {
        case "{": value = try object(depth: depth)
        case "[": value = try array(depth: depth)
        case "\"": value = .string(try string())
        case .some("-"), .some("0"..."9"): value = .number(try number())
        case .some("a"..."z"), .some("A"..."Z"): value = try word()
        default: throw unexpected("a value")
        }
        return JSONNode(position: start, value: value)
    }

    private mutating func word() throws(SyntaxError) -> JSONValue {
        let start = self
        var text = ""
        while let scalar = peek, scalar.properties.isAlphabetic { text.unicodeScalars.append(scalar); advance() }
        switch text {
        case "true": return .bool(true)
        case "false": return .bool(false)
        case "null": return .null
        default:
            let suggestion =
                switch text.lowercased() {
                case "true", "yes", "on": "write true"
                case "false", "no", "off": "write false"
                case "null", "none", "nil": "write null"
                default: "strings are written in double quotes"
                }
            throw start.error("\"\(text)\" is not a JSON value", suggestion)
        }
    }

    private mutating func object(depth: Int) throws(SyntaxError) -> JSONValue {
        advance()
        var members: [JSONMember] = []
        skipSpace()
        if peek == "}" { advance(); return .object([]) }
        while true {
            skipSpace()
            if peek == "}" { throw error("a comma before the closing \"}\"", "remove the comma") }
            guard peek == "\"" else { throw unexpected("a key in double quotes") }
            let keyPosition = position
            let key = try string()
            skipSpace()
            guard peek == ":" else { throw unexpected("\":\" after the key \"\(key)\"") }
            advance()
            skipSpace()
            members.append(JSONMember(key: key, keyPosition: keyPosition, node: try value(depth: depth + 1)))
            skipSpace()
            if peek == "," { advance(); continue }
            if peek == "}" { advance(); return .object(members) }
            throw unexpected("\",\" or \"}\"")
        }
    }

    private mutating func array(depth: Int) throws(SyntaxError) -> JSONValue {
        advance()
        var elements: [JSONNode] = []
        skipSpace()
        if peek == "]" { advance(); return .array([]) }
        while true {
            skipSpace()
            if peek == "]" { throw error("a comma before the closing \"]\"", "remove the comma") }
            elements.append(try value(depth: depth + 1))
            skipSpace()
            if peek == "," { advance(); continue }
            if peek == "]" { advance(); return .array(elements) }
            throw unexpected("\",\" or \"]\"")
        }
    }

    private mutating func number() throws(SyntaxError) -> String {
        let start = self
        var text = ""
        func isDigit(_ scalar: Unicode.Scalar?) -> Bool { scalar.map { ("0"..."9").contains($0) } ?? false }
        func take(_ parser: inout JSONParser) {
            text.unicodeScalars.append(parser.scalars[parser.index])
            parser.advance()
        }
        if peek == "-" { take(&self) }
        guard isDigit(peek) else { throw unexpected("a digit") }
        if peek == "0" {
            take(&self)
            if isDigit(peek) { throw start.error("a number with a leading zero", "remove the zero") }
            if peek == "x" || peek == "X" {
                throw start.error("a hexadecimal number", "JSON numbers are decimal")
            }
        }
        while isDigit(peek) { take(&self) }
        if peek == "." {
            take(&self)
            guard isDigit(peek) else { throw unexpected("a digit after the decimal point") }
            while isDigit(peek) { take(&self) }
        }
        if peek == "e" || peek == "E" {
            take(&self)
            if peek == "+" || peek == "-" { take(&self) }
            guard isDigit(peek) else { throw unexpected("a digit of the exponent") }
            while isDigit(peek) { take(&self) }
        }
        if let next = peek, next.properties.isAlphabetic || next == "_" {
            throw start.error(
                "\"\(text)\(next)\" is not a number", "a value with a unit is written as a string, \"128MiB\"")
        }
        return text
    }

    private mutating func string() throws(SyntaxError) -> String {
        let start = self
        advance()
        var text = ""
        while true {
            guard let scalar = peek else {
                throw start.error("a string that begins here has no closing quote", "is the file truncated?")
            }
            switch scalar {
            case "\"":
                advance()
                return text
            case "\\":
                text.unicodeScalars.append(try escape())
            case "\n", "\r":
                throw start.error("a string that begins here does not end on its line", "write \\n for a line break")
            default:
                if scalar.value < 0x20 {
                    throw error("\(Self.quoted(scalar)) inside a string", "write it as an escape, \\t or \\u0001")
                }
                text.unicodeScalars.append(scalar)
                advance()
            }
        }
    }

    private mutating func escape() throws(SyntaxError) -> Unicode.Scalar {
        let start = self
        advance()
        guard let scalar = peek else { throw unexpected("an escape") }
        advance()
        switch scalar {
        case "\"", "\\", "/": return scalar
        case "b": return "\u{8}"
        case "f": return "\u{C}"
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "u": break
        default: throw start.error("unknown escape \"\\\(scalar)\"", "a backslash is written as \\\\")
        }
        let first = try hexadecimal()
        if let scalar = Unicode.Scalar(first) { return scalar }
        // A surrogate: only a high one followed by a low one is a character.
        if (0xD800...0xDBFF).contains(first), peek == "\\" {
            advance()
            if peek == "u" {
                advance()
                let second = try hexadecimal()
                if (0xDC00...0xDFFF).contains(second),
                    let scalar = Unicode.Scalar(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
                {
                    return scalar
                }
            }
        }
        throw start.error("half of a surrogate pair", "write the character itself")
    }

    private mutating func hexadecimal() throws(SyntaxError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let scalar = peek, scalar.isASCII, let digit = Character(scalar).hexDigitValue else {
                throw unexpected("a hexadecimal digit")
            }
            value = value << 4 | UInt32(digit)
            advance()
        }
        return value
    }
}
