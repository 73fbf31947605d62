import Results

/// The files of a run: `report.json`, `samples.csv`, `exits.csv`, `summary.csv`; and where the suite reproduces a publication, a text
/// of that name with the published figures beside the run's.
public enum ReportFolder {
    /// Analyses the report and writes all files into an existing folder, each whole or not at all; `report.json`
    /// comes last, so that its presence means that the others are there.
    ///
    /// - Throws: `ReportError.unwritable` or `.notEncodable`. What was written before stays.
    /// - Returns: paths of the files.
    @discardableResult
    public static func write(_ report: RunReport, to folder: String) throws(ReportError) -> [String] {
        var report = report
        report.analyze()
        var tables = [
            ("samples.csv", CSVReports.samples(report)), ("exits.csv", CSVReports.exits(report)),
            ("summary.csv", CSVReports.summary(report)),
        ]
        if report.reproduces == PaperReproduction.name {
            tables.append((PaperReproduction.name + ".md", PaperMarkdown.text(PaperReproduction(report))))
        }
        var paths: [String] = []
        for (name, text) in tables {
            let path = folder + "/" + name
            do {
                try AtomicFile.write(text, to: path)
            } catch {
                throw .unwritable(error)
            }
            paths.append(path)
        }
        let path = folder + "/report.json"
        try ReportFile.write(report, to: path)
        return paths + [path]
    }
}

extension RunReport {
    /// The publication that its suite reproduces.
    public var reproduces: String? { suite.resolved["reproduces"]?.stringValue }
}
