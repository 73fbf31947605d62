import ArgumentParser
import Suite

struct ValidateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate",
        abstract: "Check a suite without running it.",
        discussion: """
            Every problem is reported at once, with its place in the file and a suggestion.

            Examples:
              vbench validate Workloads/suites/quick.json

            Exit codes: 0 valid, 65 invalid, 66 cannot be read.
            """)

    @Argument(help: ArgumentHelp("The suite file.", valueName: "suite"))
    var path: String

    func run() throws {
        let suite = try SuiteArguments.load(path)
        for problem in suite.unusableHostFiles(SuiteArguments.problem) {
            Terminal.complain("warning: \(path): \(problem)")
        }
        let trials = suite.workloads.reduce(0) { sum, workload in
            sum + workload.backends.reduce(0) { $0 + workload.variants(on: $1).count * workload.trials }
        }
        print(
            "\(path): valid: \(suite.workloads.count) workloads, \(suite.colocation.count) co-locations, "
                + "\(trials) trials besides them")
    }
}
