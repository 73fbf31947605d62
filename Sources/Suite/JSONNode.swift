/// A JSON value that remembers where it was written.
struct JSONNode: Sendable, Equatable {
    /// Place of its first character.
    var position: SourcePosition
    var value: JSONValue
}

/// The value of a node. Objects keep the order of the file and duplicate keys; numbers keep their text.
enum JSONValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case number(String)
    case string(String)
    case array([JSONNode])
    case object([JSONMember])

    /// "a number", "an object" …: for messages.
    var typeName: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

/// One `"key": value` of an object.
struct JSONMember: Sendable, Equatable {
    var key: String
    /// Place of the key's opening quote.
    var keyPosition: SourcePosition
    var node: JSONNode
}

/// A place in a text file: both numbers count from 1, columns in Unicode scalars.
public struct SourcePosition: Sendable, Equatable, Comparable, Codable {
    public var line: Int
    public var column: Int

    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    public static func < (a: Self, b: Self) -> Bool { (a.line, a.column) < (b.line, b.column) }
}

/// Where a value is in a document, in JSONPath notation: `$.workloads[2].arguments[0]`.
struct JSONPath: Sendable, Equatable, CustomStringConvertible {
    private(set) var description = "$"

    static let root = JSONPath()

    func key(_ key: String) -> JSONPath {
        var path = self
        let plain = key.unicodeScalars.enumerated().allSatisfy { index, scalar in
            scalar == "_" || ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar)
                || (index > 0 && ("0"..."9").contains(scalar))
        }
        if plain && !key.isEmpty {
            path.description += "." + key
        } else {
            let escaped = key.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
            path.description += "['" + escaped + "']"
        }
        return path
    }

    func index(_ index: Int) -> JSONPath {
        var path = self
        path.description += "[\(index)]"
        return path
    }
}
