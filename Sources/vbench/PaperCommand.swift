import ArgumentParser
import Report
import Results

struct PaperCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "paper",
        abstract: "Set a report beside the figures of Adams and Agesen, ASPLOS 2006.",
        discussion: """
            REPORT is one of Workloads/suites/adams-agesen-2006.json. Prints Markdown that stands by itself: nanobenchmarks, forkwait, \
            programs that compute, a compile job and others, the sources of overhead of boot and halt; what has changed since \
            2006, and what this host cannot show. The run of the suite has written the same text into its folder.

            Examples:
              vbench run Workloads/suites/adams-agesen-2006.json
              vbench paper Results/runs/…/report.json > paper.md

            Exit codes: 0 printed, 2 the report cannot be read, 64 wrong usage, also a report of another suite.
            """)

    @Argument(help: ArgumentHelp("The report, or its folder.", valueName: "report"))
    var path: String

    func run() throws {
        var report = try ReportArguments.read(path)
        guard report.reproduces == PaperReproduction.name else {
            Terminal.complain(
                "vbench: the report is of suite \(report.suite.name), which does not reproduce \(PaperReproduction.name); run "
                    + "Workloads/suites/adams-agesen-2006.json")
            throw ExitStatus.usage
        }
        report.analyze()
        print(PaperMarkdown.text(PaperReproduction(report)), terminator: "")
    }
}
