/// A table in the format of RFC 4180: CRLF line ends, a header line, fields quoted where they must be.
struct CSVTable {
    private let columns: [String]
    private(set) var text: String

    init(columns: [String]) {
        self.columns = columns
        text = ""
        append(columns)
    }

    /// Appends a line. A nil field is empty: not measured.
    mutating func append(_ fields: [String?]) {
        precondition(fields.count == columns.count, "a line has a field for every column")
        text += fields.map { Self.quoted($0 ?? "") }.joined(separator: ",")
        text += "\r\n"
    }

    private static func quoted(_ field: String) -> String {
        // By scalars: "\r\n" is one Character.
        guard field.unicodeScalars.contains(where: { $0 == "," || $0 == "\"" || $0 == "\r" || $0 == "\n" }) else {
            return field
        }
        return "\"" + field.replacing("\"", with: "\"\"") + "\""
    }
}

/// The shortest text that reads back as the same number.
func csv(_ value: Double?) -> String? {
    guard let value, value.isFinite else { return nil }
    let text = value.description
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
}

func csv(_ value: (some BinaryInteger)?) -> String? { value.map { String($0) } }
