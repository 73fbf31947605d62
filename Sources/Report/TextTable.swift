/// Lays out text in columns for a terminal. Knows nothing of what the columns mean.
struct TextTable {
    enum Alignment { case left, right }

    struct Column {
        var title: String
        var alignment: Alignment
    }

    private enum Line {
        case row([String])
        /// Text from some column on to the right edge, wrapped; `cells` are the columns before it.
        case spanning(cells: [String], text: String)
    }

    let columns: [Column]
    let width: Int
    /// Spaces between columns.
    let gap: Int
    private var lines: [Line] = []

    init(_ columns: [Column], width: Int, gap: Int = 2) {
        self.columns = columns
        self.width = width
        self.gap = gap
    }

    mutating func row(_ cells: [String]) {
        precondition(cells.count == columns.count, "a row has a cell for every column")
        lines.append(.row(cells))
    }

    /// A row whose last columns are one text, wrapped to the table's width.
    mutating func row(_ cells: [String], then text: String) {
        precondition(cells.count < columns.count, "the text takes at least one column")
        lines.append(.spanning(cells: cells, text: text))
    }

    func render() -> String {
        let widths = columns.indices.map { column in
            lines.reduce(columns[column].title.count) { widest, line in
                switch line {
                case .row(let cells): max(widest, cells[column].count)
                case .spanning(let cells, _): column < cells.count ? max(widest, cells[column].count) : widest
                }
            }
        }
        var text = rendered(columns.map(\.title), widths)
        for line in lines {
            switch line {
            case .row(let cells): text += rendered(cells, widths)
            case .spanning(let cells, let message):
                let indent = widths.prefix(cells.count).reduce(gap * cells.count, +)
                let parts = Self.wrapped(message, width: max(20, width - indent))
                for (index, part) in parts.enumerated() {
                    let head = index == 0 ? rendered(cells, widths, trimmed: false) : ""
                    let padding = String(repeating: " ", count: max(0, indent - head.count))
                    text += Self.trimmed(head + padding + part) + "\n"
                }
            }
        }
        return text
    }

    private func rendered(_ cells: [String], _ widths: [Int], trimmed: Bool = true) -> String {
        var text = ""
        let between = String(repeating: " ", count: gap)
        for (index, cell) in cells.enumerated() {
            let padding = String(repeating: " ", count: widths[index] - cell.count)
            text += (index > 0 ? between : "") + (columns[index].alignment == .left ? cell + padding : padding + cell)
        }
        return trimmed ? Self.trimmed(text) + "\n" : text
    }

    private static func trimmed(_ line: String) -> String {
        var line = line
        while line.last == " " { line.removeLast() }
        return line
    }

    /// A paragraph whose lines after the first are indented. Where it has no-break spaces it is not broken, and gets plain ones.
    static func paragraph(_ text: String, width: Int) -> String {
        wrapped(text, width: width - 2).enumerated()
            .map { ($0 == 0 ? $1 : "  " + $1).replacing("\u{A0}", with: " ") + "\n" }.joined()
    }

    /// Breaks text at spaces into lines of at most `width`; a word that is longer has a line of its own. Control
    /// characters, which a guest's output may hold, become spaces.
    static func wrapped(_ text: String, width: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        let printable = String(
            String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : $0 }))
        for word in printable.split(separator: " ") {
            if !line.isEmpty && line.count + 1 + word.count > width {
                lines.append(line)
                line = ""
            }
            line += line.isEmpty ? String(word) : " " + word
        }
        return lines + [line]
    }
}
