import ArgumentParser
import Report
import Results

struct ExitsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exits",
        abstract: "Print a report's exit ledgers: how often, how long, for what reason.",
        discussion: """
            A table for each workload, backend and variant, most expensive reason first, in the manner of `perf kvm \
            stat`. The trials of a cell are pooled; P50 and P99 are the medians of the trials' own. Failed trials and \
            co-locations are left out (exits.csv has them).

            Examples:
              vbench exits Results/runs/…/report.json
              vbench exits results/today --workload forkwait --backend software
              vbench exits results/today --by phase --workload forkwait
              vbench exits results/today --by function
              vbench exits results/today --unit cycles
              vbench exits results/today --json

            Exit codes: 0 printed, 2 the report cannot be read, 64 wrong usage, also a workload or backend that the \
            report does not have.
            """)

    @Argument(help: ArgumentHelp("The report, or its folder.", valueName: "report"))
    var path: String

    @Option(help: ArgumentHelp("Only this workload.", valueName: "name"))
    var workload: String?

    @Option(help: ArgumentHelp("Only this backend.", valueName: "name"))
    var backend: String?

    @Option(
        help: ArgumentHelp(
            "What the rows are: reason, phase (reasons, in a table for each phase), or function (of the guest, from "
                + "profile trials).", valueName: "grouping"))
    var by = LedgerTable.Grouping.reason

    @Option(help: "Unit of an exit's times: us (microseconds) or cycles (of the TSC).")
    var unit = LedgerTable.Unit.microseconds

    @Flag(
        help:
            "Print JSON, all groupings at once: times in cycles and, where the TSC frequency is known, in nanoseconds.")
    var json = false

    @Flag(help: "Print instead what keeping the ledgers costs, from a run of Workloads/suites/ledger-cost.json.")
    var cost = false

    func validate() throws {
        if cost, json || workload != nil || backend != nil {
            throw ValidationError("--cost goes with none of --json, --workload and --backend.")
        }
    }

    func run() throws {
        let report = try ReportArguments.read(path)
        if cost {
            print(LedgerCost(report).text(width: Terminal.width), terminator: "")
            return
        }
        if let workload { try ReportArguments.check(workload, "workload", among: report.cells.map(\.workload)) }
        if let backend { try ReportArguments.check(backend, "backend", among: report.cells.map(\.backend)) }
        let listing = LedgerListing(report, workload: workload, backend: backend)
        if json {
            print(try LedgerJSON.text(listing))
        } else {
            print(LedgerTable.text(listing, by: by, unit: unit, width: Terminal.width), terminator: "")
        }
    }
}

extension LedgerTable.Unit: ExpressibleByArgument {}
extension LedgerTable.Grouping: ExpressibleByArgument {}
