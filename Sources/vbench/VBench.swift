import ArgumentParser
import Glibc
import Lab

@main
struct VBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vbench",
        abstract: "What virtualization costs a workload, where the cost comes from, and what neighbours add to it.",
        discussion: """
            vbench runs the same static Linux program natively, in a VM of its KVM VMM and in a VM of its \
            binary-translation VMM, counts and times every exit, and writes reports a person can look at and a CI \
            gate can act on.

            Examples:
              vbench doctor                               what this host offers
              vbench run Workloads/suites/quick.json      run a suite
              vbench exec --backend software -- ./hello   one program in a VM
              vbench boot --backend software kernel.elf   one kernel in a VM
              vbench compare base/report.json new/report.json --max-regression 5%
              vbench explain new/report.json forkwait     what the overhead consists of

            Exit codes:
              0        success
              1        run: some trials failed; compare: a regression
              2        a report that cannot be read; compare: wrong usage
              3        compare: too noisy to decide
              64       wrong usage
              65, 66   the suite is invalid; cannot be read
              69       a required backend is not available
              70       a fault of vbench itself
              73, 74   the output cannot be created; writing it failed (disk full)
              121, 122 boot: the kernel halted for good; reset its machine
              124-127  exec, boot: time limit; machine failed; cannot be run; not found
              128+n    ended by signal n (130: Ctrl-C; what was measured is written)
            """,
        version: "vbench \(VBenchVersion.current)",
        subcommands: [
            RunCommand.self, ValidateCommand.self, DoctorCommand.self, ListCommand.self, ExecCommand.self,
            BootCommand.self,
            CompareCommand.self, ExitsCommand.self, ExplainCommand.self, PaperCommand.self, TargetsCommand.self,
            TopCommand.self,
            TrialChildCommand.self,
            BootChildCommand.self,
        ])

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        // Beyond a file size limit (ulimit -f) a write shall fail with an error to report, not end the process.
        signal(SIGXFSZ, SIG_IGN)
        // A trial begins here: no time for the help texts of all commands.
        if arguments == [TrialChild.subcommand] { Glibc.exit(TrialChild.main()) }
        do {
            var command = try parseAsRoot(arguments)
            try command.run()
        } catch {
            // A gate must not take wrong usage for a verdict: `compare` has 2 for it.
            if arguments.first == "compare" && exitCode(for: error) == .validationFailure {
                Terminal.complain(fullMessage(for: error))
                exit(withError: ExitStatus.compareUnusable)
            }
            exit(withError: error)
        }
    }
}

/// The inside of a trial; `vbench` starts it for itself.
struct TrialChildCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: TrialChild.subcommand, abstract: "Runs one trial (used by vbench itself).", shouldDisplay: false)

    func run() throws {
        throw ExitCode(TrialChild.main())
    }
}
