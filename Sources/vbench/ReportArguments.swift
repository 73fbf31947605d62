import FoundationEssentials
import Results

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
}
