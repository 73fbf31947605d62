import ArgumentParser
import FoundationEssentials
import Report
import Results

struct TargetsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "targets",
        abstract: "Set a report of the software VMM's benchmarks against its targets.",
        discussion: """
            REPORT is one of Workloads/suites/bench-software.json; `make bench-software` runs that suite and then this. \
            All figures are of one run on one machine, most of them multiples of native trials between the others.

            Example:
              vbench targets Results/runs/…/report.json

            The exit code does not depend on whether targets are reached: `vbench compare` is the gate.
            """)

    @Argument(help: ArgumentHelp("The report, or its folder.", valueName: "report"))
    var path: String

    func run() throws {
        var report = try ReportArguments.read(path)
        report.analyze()
        print(TargetsTable.text(SoftwareTargets(report), width: Terminal.width), terminator: "")
    }
}
