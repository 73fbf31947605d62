import ArgumentParser
import Backends
import FoundationEssentials
import Glibc
import Lab
import Report
import Results
import Suite

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run a suite and write its report.",
        discussion: """
            Trials of all cells (workload × backend × variant) go in rounds in seeded random order, each in a child \
            process of its own. The folder of the run gets report.json, samples.csv, exits.csv and summary.csv. \
            Ctrl-C ends the run and writes what there is; a second Ctrl-C ends at once.

            Examples:
              vbench run Workloads/suites/quick.json
              vbench run suite.json --backend native --backend software --trials 10
              vbench run suite.json --require kvm --output results/today

            Exit codes: 0 all trials passed, 1 some failed (the report says which), 65 and 66 bad suite, 69 a \
            required backend is missing, 73 and 74 output trouble, 130 Ctrl-C.
            """)

    @Argument(help: ArgumentHelp("The suite file.", valueName: "suite"))
    var path: String

    @Option(name: .customLong("backend"), help: "Run only this backend of the suite. Repeatable.")
    var backends: [BackendName] = []

    @Option(
        name: .customLong("require"),
        help: ArgumentHelp("Fail when this backend is missing. Repeatable.", valueName: "backend"))
    var required: [BackendName] = []

    @Option(
        name: .customLong("workload"),
        help: ArgumentHelp("Run only this workload of the suite. Repeatable.", valueName: "name"))
    var workloads: [String] = []

    @Option(help: ArgumentHelp("Trials of each cell, instead of the suite's numbers.", valueName: "number"))
    var trials: Int?

    @Option(help: ArgumentHelp("Seed of the order of trials, instead of the suite's.", valueName: "number"))
    var seed: UInt64?

    @Option(help: ArgumentHelp("CPU to measure on (default: an isolated one, else the last).", valueName: "number"))
    var cpu: Int?

    @Flag(
        inversion: .prefixedNo,
        help: ArgumentHelp(
            "One more trial a cell on kvm and software that notes which guest functions exits come from "
                + "(default: as the suite says)."))
    var profile: Bool?

    @Option(
        help: ArgumentHelp(
            "Folder for the results, new or empty (default: a new one in Results/runs).", valueName: "folder"))
    var output: String?

    func validate() throws {
        if let trials, !Limits.trials.contains(trials) {
            throw ValidationError("--trials must be \(Limits.trials.lowerBound) to \(Limits.trials.upperBound).")
        }
    }

    func run() throws {
        let whole = try SuiteArguments.load(path)
        let suite = try narrowed(whole)
        let backends = BackendSurvey(suite.backends)
        try checkRequired(suite, backends)
        let cpus = try placement()
        let folder = try outputFolder(suite)
        let interrupts = try Interrupts()
        let progress = ConsoleProgress()
        for record in backends.records where !record.available {
            progress.note("backend \(record.name) is not available: \(record.reason ?? "") (\(record.remedy ?? ""))")
        }
        if let load = HostSurvey.disturbance { progress.note("warning: \(load)") }
        for problem in suite.unusableHostFiles(SuiteArguments.problem) { progress.note("warning: \(problem)") }

        let seed = seed ?? suite.seed
        let plan = Plan(
            suite, seed: seed, trials: trials, profile: profile, availability: backends.obstacle,
            placementObstacle: {
                $0 == .differentCPU && cpus.other == nil ? "this host gives vbench one CPU only" : nil
            })
        var report = RunReport(
            generator: Generator(version: VBenchVersion.current, commit: SourceCommit.current), started: Date(),
            seed: seed,
            host: HostSurvey.record(cpus: cpus), suite: try SuiteSurvey.record(suite, path: path))
        report.commandLine = CommandLine.arguments
        report.backends = backends.records

        let run = SuiteRun(
            suite, plan: plan, supervisor: Supervisor(interrupts: interrupts), cpus: cpus, seed: seed,
            progress: progress)
        run.run()

        report.finished = Date(timeIntervalSince1970: Date().timeIntervalSince1970.rounded(.down))
        report.cells = run.cells
        report.colocations = run.colocations
        report.complete = run.isComplete
        if !run.isComplete {
            let reason = interrupts.signal.map { "ended by \(SignalName.of($0))" } ?? "ended early"
            report.incompleteReason = "\(reason) after \(run.executed) of \(plan.steps.count) trials"
        }
        try save(report, in: folder)
        try finish(run, report, folder, interrupts)
    }

    // MARK: Before

    /// The suite without what the command line left out.
    private func narrowed(_ whole: Suite) throws -> Suite {
        var suite = whole
        for name in workloads where !suite.workloads.contains(where: { $0.name == name }) {
            let known = suite.workloads.map(\.name).joined(separator: ", ")
            throw ValidationError("The suite has no workload \(name); it has \(known).")
        }
        for backend in backends + required where !suite.backends.contains(backend.rawValue) {
            throw ValidationError("The suite does not use backend \(backend.rawValue).")
        }
        if !workloads.isEmpty {
            suite.colocation.removeAll { !workloads.contains($0.victim) }
            let neighbours = Set(suite.colocation.map(\.aggressor))
            let left = suite.workloads.filter { !workloads.contains($0.name) }
            suite.aggressors += left.filter { neighbours.contains($0.name) }
            suite.workloads.removeAll { !workloads.contains($0.name) }
        }
        if !backends.isEmpty {
            let kept = Set(backends.map(\.rawValue))
            suite.backends.removeAll { !kept.contains($0) }
            for index in suite.workloads.indices { suite.workloads[index].backends.removeAll { !kept.contains($0) } }
            for index in suite.colocation.indices { suite.colocation[index].backends.removeAll { !kept.contains($0) } }
        }
        return suite
    }

    private func checkRequired(_ suite: Suite, _ survey: BackendSurvey) throws {
        for name in required {
            if let obstacle = survey.obstacle(name.rawValue) {
                Terminal.complain("vbench: required backend \(name.rawValue) is not available: \(obstacle)")
                throw ExitStatus.unavailable
            }
        }
    }

    private func placement() throws -> CPUPlacement {
        do { return try CPUPlacement.choose(requested: cpu) } catch {
            throw ValidationError("--cpu: \(error).")
        }
    }

    private func outputFolder(_ suite: Suite) throws -> OutputFolder {
        do { return try OutputFolder(requested: output, suite: suite.name) } catch {
            Terminal.complain("vbench: \(error)")
            throw ExitStatus.cannotCreate
        }
    }

    // MARK: After

    private func save(_ report: RunReport, in folder: OutputFolder) throws {
        do { try folder.save { try ReportFolder.write(report, to: $0) } } catch {
            print(SummaryTable.text(report, width: Terminal.width))
            Terminal.complain("vbench: \(error)")
            throw ExitStatus.writeFailed
        }
    }

    private func finish(_ run: SuiteRun, _ report: RunReport, _ folder: OutputFolder, _ interrupts: Interrupts) throws {
        var analysed = report
        analysed.analyze()
        print(SummaryTable.text(analysed, width: Terminal.width))
        print("Results: \(folder.path)/report.json")
        if let signal = interrupts.signal {
            Terminal.complain("vbench: \(report.incompleteReason ?? "interrupted"); the report has what was measured")
            throw ExitStatus.signal(signal)
        }
        if run.failedTrials > 0 {
            Terminal.complain("vbench: \(run.failedTrials) of \(run.executed) trials failed")
            throw ExitStatus.someFailed
        }
    }
}
