import ArgumentParser
import Report
import Results

struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Explain what a workload's overhead consists of on each backend.",
        discussion: """
            For each backend: native time, time and overhead of an operation (of a run where the program times \
            nothing, of all rounds where it has several phases); the exits by reason, count times mean cost; and the \
            residual, which is in no timed exit and may be negative. Then in words: where the time goes, which technique \
            wins and why, and what the figures do not cover.

            Examples:
              vbench explain Results/runs/…/report.json null-syscall
              vbench explain results/today forkwait
              vbench explain results/today nanobench --phase syscall

            Exit codes: 0 printed, 2 the report cannot be read, 64 wrong usage, also a workload that the report does \
            not have.
            """)

    @Argument(help: ArgumentHelp("The report, or its folder.", valueName: "report"))
    var path: String

    @Argument(help: ArgumentHelp("A workload of the report.", valueName: "workload"))
    var workload: String

    @Option(help: ArgumentHelp("Only this timed phase of the program.", valueName: "name"))
    var phase: String?

    func run() throws {
        let report = try ReportArguments.read(path)
        try ReportArguments.check(workload, "workload", among: report.cells.map(\.workload))
        if let phase {
            let cells = report.cells.filter { $0.workload == workload }
            let samples = cells.flatMap(\.trials).flatMap(\.result.samples)
            try ReportArguments.check(phase, "phase", among: samples.map(\.phase))
        }
        print(
            ExplanationText.text(Explanation(report, workload: workload, phase: phase), width: Terminal.width),
            terminator: "")
    }
}
