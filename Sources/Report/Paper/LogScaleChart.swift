import Foundation

/// Bars over a logarithmic scale, as text.
struct LogScaleChart {
    struct Bar: Equatable {
        var label: String
        /// Nil: nothing to show, `note` says why.
        var value: Double?
        var note: String
    }

    struct Group: Equatable {
        var name: String
        var bars: [Bar]
    }

    var groups: [Group]
    /// Columns of the text.
    var width = 80

    /// Values below 1 have no bar: their logarithm is negative.
    func render() -> String {
        let values = groups.flatMap(\.bars).compactMap(\.value).filter { $0 > 1 }
        guard let largest = values.max() else { return "" }
        let decades = max(1, Int(log10(largest).rounded(.up)))
        let nameWidth = (groups.map(\.name.count).max() ?? 0) + 1
        let labelWidth = (groups.flatMap(\.bars).map(\.label.count).max() ?? 0) + 1
        let noteWidth = min(22, (groups.flatMap(\.bars).filter { $0.value != nil }.map(\.note.count).max() ?? 0) + 1)
        let step = max(2, (width - nameWidth - labelWidth - noteWidth) / decades)
        let indent = String(repeating: " ", count: nameWidth + labelWidth)
        var text = indent + scale(decades, step: step) + "\n"
        for group in groups {
            for (index, bar) in group.bars.enumerated() {
                text += Self.padded(index == 0 ? group.name : "", nameWidth) + Self.padded(bar.label, labelWidth)
                if let value = bar.value {
                    let length = value > 1 ? Int((log10(value) * Double(step)).rounded()) : 0
                    text += String(repeating: "█", count: length) + (length > 0 ? " " : "") + bar.note + "\n"
                } else {
                    text += "– " + bar.note + "\n"
                }
            }
        }
        return text
    }

    /// "1       10      100     1k": a mark for each power of ten.
    private func scale(_ decades: Int, step: Int) -> String {
        let names = ["1", "10", "100", "1k", "10k", "100k", "1M", "10M", "100M", "1G"]
        var text = (0...decades).map { decade in
            Self.padded(decade < names.count ? names[decade] : "1e\(decade)", step)
        }.joined()
        while text.last == " " { text.removeLast() }
        return text
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
