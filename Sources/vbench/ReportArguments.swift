import FoundationEssentials
import Results
import Suite

/// Reads reports for the commands that take one.
enum ReportArguments {
    /// The report in a file, or in the folder of a run.
    ///
    /// - Throws: the exit code, after the reason has been printed.
    static func read(_ path: String) throws -> RunReport {
        var isFolder = false
        if let type = try? FileManager.default.attributesOfItem(atPath: path)[.type] as? FileAttributeType {
            isFolder = type == .typeDirectory
        }
        do { return try ReportFile.read(isFolder ? path + "/report.json" : path) } catch {
            Terminal.complain("vbench: \(error)")
            throw ExitStatus.compareUnusable
        }
    }

    /// Passes a name that the report has.
    ///
    /// - Throws: the exit code, after the names that may have been meant have been printed.
    static func check(_ name: String, _ what: String, among names: [String]) throws {
        if names.contains(name) { return }
        var known: [String] = []
        for name in names where !known.contains(name) { known.append(name) }
        let suggestion = Spelling.suggestion(for: name, among: known) ?? "it has no cells at all"
        Terminal.complain("vbench: the report has no \(what) \"\(name)\"; \(suggestion)")
        throw ExitStatus.usage
    }
}
