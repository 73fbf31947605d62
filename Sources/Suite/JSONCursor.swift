/// Collects problems while a document is read.
final class ProblemLog {
    private(set) var problems: [SuiteProblem] = []

    func add(_ path: JSONPath, _ position: SourcePosition, _ message: String, _ suggestion: String? = nil) {
        problems.append(
            SuiteProblem(path: path.description, position: position, message: message, suggestion: suggestion))
    }
}

/// A value being read: its node, its path, and the log that takes what is wrong with it.
///
/// Readers return nil after they have logged a problem, so that reading goes on and finds the others.
struct JSONCursor {
    let node: JSONNode
    let path: JSONPath
    let log: ProblemLog

    func problem(_ message: String, _ suggestion: String? = nil) {
        log.add(path, node.position, message, suggestion)
    }

    private func wrongType(_ expected: String) {
        let suggestion = node.value == .null ? "leave the key out for its default" : nil
        problem("\(node.value.typeName) where \(expected) is expected", suggestion)
    }

    // MARK: Structure

    /// Reads an object that may have these keys and no others.
    func object(keys: [String], expected: String = "an object") -> ObjectCursor? {
        guard let members = uniqueMembers(expected: expected) else { return nil }
        for member in members where !keys.contains(member.key) {
            log.add(
                path.key(member.key), member.keyPosition, "unknown key \"\(member.key)\"",
                Spelling.suggestion(for: member.key, among: keys))
        }
        return ObjectCursor(cursor: self, members: members)
    }

    /// The members of an object with free keys.
    func dictionary(expected: String) -> [(key: String, value: JSONCursor)]? {
        uniqueMembers(expected: expected)?.map { member in
            (member.key, JSONCursor(node: member.node, path: path.key(member.key), log: log))
        }
    }

    /// The members, duplicates logged and left out.
    private func uniqueMembers(expected: String) -> [JSONMember]? {
        guard case .object(let members) = node.value else {
            wrongType(expected)
            return nil
        }
        var first: [String: SourcePosition] = [:]
        return members.filter { member in
            if let earlier = first[member.key] {
                log.add(
                    path.key(member.key), member.keyPosition, "the key \"\(member.key)\" is there twice",
                    "remove it here or in line \(earlier.line)")
                return false
            }
            first[member.key] = member.keyPosition
            return true
        }
    }

    func array(expected: String) -> [JSONCursor]? {
        guard case .array(let elements) = node.value else {
            wrongType(expected)
            return nil
        }
        return elements.enumerated().map { JSONCursor(node: $1, path: path.index($0), log: log) }
    }

    // MARK: Plain values

    /// A string that can be handed to C: without NUL.
    func string(expected: String = "a string") -> String? {
        guard case .string(let text) = node.value else {
            wrongType(expected)
            return nil
        }
        if text.unicodeScalars.contains("\0") {
            problem("a NUL character, which no program can receive", "remove the \\u0000")
            return nil
        }
        return text
    }

    func bool() -> Bool? {
        guard case .bool(let value) = node.value else {
            wrongType("true or false")
            return nil
        }
        return value
    }

    func integer<Value: FixedWidthInteger>(in range: ClosedRange<Value>, _ what: String) -> Value? {
        guard case .number(let text) = node.value else {
            if case .string(let text) = node.value, let value = Value(text), range.contains(value) {
                problem("a string where \(what) is expected", "write \(value) without quotes")
            } else {
                wrongType(what)
            }
            return nil
        }
        guard let value = Value(text) ?? Double(text).flatMap({ Value(exactly: $0) }) else {
            let isWhole = Double(text).map { $0 == $0.rounded() } ?? false
            problem(
                isWhole ? "\(text) is out of range" : "\(text) is not a whole number",
                "\(what) is from \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        guard range.contains(value) else {
            problem(
                "\(text) is \(value < range.lowerBound ? "too small" : "too large")",
                "\(what) is from \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return value
    }

    /// A string that must be one of these.
    func choice(of candidates: [String], _ what: String) -> String? {
        guard let text = string(expected: what) else { return nil }
        guard candidates.contains(text) else {
            problem("unknown \(what) \"\(text)\"", Spelling.suggestion(for: text, among: candidates))
            return nil
        }
        return text
    }

    // MARK: Quantities

    /// Bytes: a number, or a string with a binary unit.
    func bytes(in range: ClosedRange<UInt64>) -> UInt64? {
        let value: Double
        switch node.value {
        case .number(let text):
            guard let number = Double(text) else { return nil }
            value = number
        case .string(let text):
            guard let number = Quantity.bytes(text) else {
                problem("\"\(text)\" is not a size", "write bytes as a number, or a string such as \"128MiB\"")
                return nil
            }
            value = number
        default:
            wrongType("a size (bytes, or a string such as \"128MiB\")")
            return nil
        }
        guard value == value.rounded() else {
            problem("not a whole number of bytes")
            return nil
        }
        guard value >= Double(range.lowerBound), value <= Double(range.upperBound) else {
            let bounds = "from \(Quantity.text(bytes: range.lowerBound)) to \(Quantity.text(bytes: range.upperBound))"
            problem(
                value < 0 ? "a negative size" : value < Double(range.lowerBound) ? "too small" : "too large",
                "possible: \(bounds)")
            return nil
        }
        return UInt64(value)
    }

    /// Seconds: a number, or a string with a unit.
    func seconds(in range: ClosedRange<Double>) -> Double? {
        let value: Double
        switch node.value {
        case .number(let text):
            guard let number = Double(text) else { return nil }
            value = number
        case .string(let text):
            guard let number = Quantity.seconds(text) else {
                problem("\"\(text)\" is not a duration", "write seconds as a number, or a string such as \"500ms\"")
                return nil
            }
            value = number
        default:
            wrongType("a duration (seconds, or a string such as \"500ms\")")
            return nil
        }
        guard range.contains(value) else {
            problem(
                value < 0 ? "a negative duration" : value < range.lowerBound ? "too short" : "too long",
                "possible: from \(range.lowerBound) to \(range.upperBound) seconds")
            return nil
        }
        return value
    }
}

/// An object being read.
struct ObjectCursor {
    let cursor: JSONCursor
    fileprivate let members: [JSONMember]

    fileprivate init(cursor: JSONCursor, members: [JSONMember]) {
        self.cursor = cursor
        self.members = members
    }

    subscript(key: String) -> JSONCursor? {
        members.first { $0.key == key }.map {
            JSONCursor(node: $0.node, path: cursor.path.key(key), log: cursor.log)
        }
    }

    /// The value of a key that must be there.
    func required(_ key: String, _ suggestion: String) -> JSONCursor? {
        if let value = self[key] { return value }
        cursor.problem("\"\(key)\" is missing", suggestion)
        return nil
    }
}
