import FoundationEssentials
import Report
import Results

/// A comparison as JSON, for scripts.
enum ComparisonJSON {
    private struct Document: Encodable {
        struct Row: Encodable {
            var workload: String
            var backend: String
            var variant: String
            var metric: String?
            var unit: String?
            var base: Figure
            var new: Figure
            var ratio: Figure
            var verdict: String
            var note: String?
        }
        var outcome: String
        var maxRegression: Double
        var rows: [Row]
        var warnings: [String]
    }

    static func text(_ comparison: Comparison) throws -> String {
        let document = Document(
            outcome: "\(comparison.outcome)", maxRegression: comparison.limit,
            rows: comparison.rows.map {
                .init(
                    workload: $0.workload, backend: $0.backend, variant: $0.variant,
                    metric: $0.metric.isEmpty ? nil : $0.metric, unit: $0.unit?.rawValue, base: $0.base, new: $0.new,
                    ratio: $0.ratio, verdict: $0.verdict.rawValue, note: $0.note)
            }, warnings: comparison.warnings)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(document), as: UTF8.self)
    }
}
