import ArgumentParser
import FoundationEssentials
import Report
import Results

struct CompareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "Compare two reports cell by cell; a gate for CI.",
        discussion: """
            A cell has regressed when its time in NEW is longer than in BASE by more than the limit, and the \
            confidence interval of the ratio says that this is no accident.

            Examples:
              vbench compare base/report.json new/report.json
              vbench compare base/ new/ --max-regression 10% --json

            Exit codes:
              0  no regression beyond the limit
              1  a regression
              2  wrong usage, or a report that cannot be read or compared
              3  too noisy to decide: run more trials
            """)

    @Argument(help: ArgumentHelp("Report to compare with, or its folder.", valueName: "base"))
    var base: String

    @Argument(help: ArgumentHelp("Report to judge, or its folder.", valueName: "new"))
    var new: String

    @Option(help: ArgumentHelp("Largest slowdown that passes, e.g. 5% or 0.05.", valueName: "limit"))
    var maxRegression = Percentage(fraction: 0.05)

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let comparison = Comparison(
            base: try ReportArguments.read(base), new: try ReportArguments.read(new), limit: maxRegression.fraction)
        print(json ? try ComparisonJSON.text(comparison) : ComparisonTable.text(comparison, width: Terminal.width))
        if comparison.outcome != .passed { throw ExitCode(comparison.outcome.rawValue) }
    }
}

/// A relative change on the command line: `5%` or `0.05`.
struct Percentage: ExpressibleByArgument {
    var fraction: Double

    init(fraction: Double) { self.fraction = fraction }

    init?(argument: String) {
        let isPercent = argument.hasSuffix("%")
        guard let number = Double(isPercent ? String(argument.dropLast()) : argument), number > 0, number.isFinite
        else { return nil }
        fraction = isPercent ? number / 100 : number
    }

    var defaultValueDescription: String { "\(Int((fraction * 100).rounded()))%" }
}
