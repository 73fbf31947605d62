/// A table in Markdown whose first column is names and whose others are figures, aligned in the source too.
struct MarkdownTable {
    private var rows: [[String]] = []
    private let titles: [String]

    init(_ titles: [String]) { self.titles = titles }

    mutating func row(_ cells: [String]) {
        precondition(cells.count == titles.count, "a row has a cell for every column")
        // A bar would end the cell.
        rows.append(cells.map { $0.replacing("|", with: "\\|") })
    }

    func render() -> String {
        let all = [titles] + rows
        let widths = titles.indices.map { column in max(3, all.map { $0[column].count }.max() ?? 0) }
        func line(_ cells: [String]) -> String {
            let padded = cells.enumerated().map { column, cell in
                let padding = String(repeating: " ", count: widths[column] - cell.count)
                return column == 0 ? cell + padding : padding + cell
            }
            return "| " + padded.joined(separator: " | ") + " |\n"
        }
        let rule = widths.enumerated().map { column, width in
            String(repeating: "-", count: column == 0 ? width : width - 1) + (column == 0 ? "" : ":")
        }
        return line(titles) + line(rule) + rows.map(line).joined()
    }
}
