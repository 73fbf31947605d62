import ArgumentParser
import Backends
import FoundationEssentials
import Glibc
import GuestImages
import GuestInterface
import Lab
import Results

struct ExecCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec",
        abstract: "Run one Linux program in a fresh VM.",
        discussion: """
            PROGRAM is a file of this host, put at the same path into the VM's file tree, or the bare name of a program \
            that comes with vbench (`vbench list`). A dynamically linked one is put there with its dynamic linker and its \
            libraries; what it opens while it runs (modules, locale and configuration files, data) is up to --file and \
            --tree. Its output goes to \
            standard output and standard error as it comes, and its exit code is passed on.

            Examples:
              vbench exec --backend kvm -- /bin/busybox uname -a
              vbench exec --backend software --file words:/w -- /bin/busybox sort /w
              vbench exec --backend software --stdin - -- /usr/bin/sort < words
              vbench exec --backend kvm --tree rootfs -- /bin/sh -c 'ls /'
              vbench exec --backend kvm --exits -- null-syscall --rounds 3
              vbench exec --backend native --exits -- /bin/busybox sha256sum /bin/busybox
              vbench exec --backend software --trace exits -- null-syscall
              vbench exec --backend software --trace instructions --trace-range main -- spin

            Exit codes: the program's own, or
              124    the time limit was reached
              125    the machine failed (no such backend here, guest panic, ...)
              126    PROGRAM cannot be run: not an x86-64 Linux ELF file, a
                     library is missing, or not in the machine asked for
                     (memory, options)
              127    PROGRAM was not found
              128+n  the program was ended by signal n
            """)

    @Option(help: "How to run it: \(BackendName.allCases.map(\.rawValue).joined(separator: ", ")).")
    var backend: BackendName

    @Option(name: .customLong("file"), help: "A host file or folder to put into the VM's tree. Repeatable.")
    var files: [FileMapping] = []

    @Option(
        name: .customLong("tree"),
        help: ArgumentHelp(
            "A host folder that becomes the VM's tree, or the part of it at the path given. Repeatable.",
            valueName: "folder[:/path]"))
    var trees: [TreeMapping] = []

    @Option(
        name: .customLong("env"),
        help: ArgumentHelp(
            "An environment variable, with vbench's own value where none is given. Repeatable.",
            valueName: "name[=value]"))
    var environment: [EnvironmentVariable] = []

    @Option(help: ArgumentHelp("Guest memory, e.g. 256MiB.", valueName: "size"))
    var memory = ByteCount(bytes: 256 << 20)

    @Option(help: ArgumentHelp("End the program after this long.", valueName: "seconds"))
    var timeLimit = 600.0

    @Option(help: ArgumentHelp("CPU to pin to (default: not pinned).", valueName: "number"))
    var cpu: Int?

    @Option(
        help: ArgumentHelp(
            "File that is the program's standard input; - reads vbench's own to its end first.", valueName: "file"))
    var stdin: String?

    @Option(help: ArgumentHelp("Working directory in the VM's tree.", valueName: "path"))
    var directory = "/"

    @Option(help: "Seed of the guest's random numbers.")
    var seed: UInt64 = 1

    @Option(name: .customLong("option"), help: ArgumentHelp("A backend option. Repeatable.", valueName: "name=value"))
    var options: [Assignment] = []

    @Option(
        help: ArgumentHelp(
            "How the software VMM runs ring 3: direct, translate or adaptive. Short for --option userMode=…",
            valueName: "mode"))
    var userMode: String?

    @Option(
        help: ArgumentHelp(
            "Write down what the software VMM does: blocks (guest code beside its translation), exits, or instructions "
                + "(every one executed, and the registers it changed; ring 3 is translated for it).",
            valueName: "kind"))
    var trace: TraceRequest.Kind?

    @Option(
        help: ArgumentHelp(
            "Trace only these guest addresses (hexadecimal, A-B), or this function of the kernel or program.",
            valueName: "range"))
    var traceRange: String?

    @Option(help: ArgumentHelp("File for the trace (default: standard error).", valueName: "file"))
    var traceFile: String?

    @Flag(
        help:
            "Print the exit ledger by phase and by guest function, and counters, to standard error at the end. Noting where exits come from slows them down a little."
    )
    var exits = false

    @Argument(parsing: .postTerminator, help: ArgumentHelp("The program and its arguments.", valueName: "program"))
    var command: [String] = []

    func validate() throws {
        guard !command.isEmpty else { throw ValidationError("Missing program: vbench exec … -- PROGRAM ARGS…") }
        guard timeLimit > 0, timeLimit.isFinite else { throw ValidationError("--time-limit must be above 0 seconds.") }
        if trace != nil || userMode != nil, backend != .software {
            throw ValidationError("--trace and --user-mode are for --backend software.")
        }
        if trace == nil, traceRange != nil || traceFile != nil {
            throw ValidationError("--trace-range and --trace-file need --trace.")
        }
        guard directory.hasPrefix("/") else { throw ValidationError("--directory must be an absolute path.") }
    }

    func run() throws {
        let specification = try makeSpecification()
        let interrupts = try Interrupts()
        let supervisor = Supervisor(interrupts: interrupts)
        let result = supervisor.run(backend, specification, passesOutput: true)
        if let signal = interrupts.signal { throw ExitStatus.signal(signal) }
        if exits {
            Terminal.complain(TrialSummary.text(result, program: command[0], backend: backend.rawValue))
        }
        try finish(result)
    }

    private func makeSpecification() throws -> TrialSpecification {
        switch BackendRegistry.backend(backend)?.availability() {
        case .available: break
        case .unavailable(let reason, let remedy):
            throw complaint(
                "backend \(backend.rawValue) is not available: \(reason) (\(remedy))", ExitStatus.execMachineFailed)
        case nil: throw complaint("this build has no backend \(backend.rawValue)", ExitStatus.execMachineFailed)
        }
        var variables = environment.map { "\($0.name)=\($0.value)" }
        if !environment.contains(where: { $0.name == "PATH" }) {
            variables.append("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        }
        let (guestPath, guestFiles) = try makeTree(variables)
        var specification = TrialSpecification(arguments: [guestPath] + command.dropFirst(), files: guestFiles)
        specification.environment = variables
        specification.workingDirectory = directory
        specification.memoryBytes = memory.bytes
        specification.timeLimitSeconds = timeLimit
        specification.cpu = cpu
        specification.seed = seed
        specification.profilesExits = exits
        specification.options = Dictionary(options.map { ($0.name, $0.value) }) { _, last in last }
        if let userMode { specification.options["userMode"] = userMode }
        if let trace {
            specification.trace = TraceRequest(kind: trace, range: traceRange, path: traceFile)
            // The CPU does not tell of the instructions it runs directly.
            if trace == .instructions, specification.options["userMode"] == nil {
                specification.options["userMode"] = "translate"
            }
        }
        return specification
    }

    /// The guest's tree, and the program's path in it. What is asked for by options comes before what the program is packed with.
    private func makeTree(_ variables: [String]) throws -> (program: String, files: [GuestFile]) {
        var given: [GuestFile] = []
        for tree in trees { given += try Self.expand(host: tree.host, guest: tree.guest, option: "--tree") }
        for file in files { given += try Self.expand(host: file.host, guest: file.guest) }
        if stdin == "-" {
            given.append(GuestFile(hostPath: try Self.ownInput(), guestPath: "\(Job.standardInputPath)"))
        } else if let stdin {
            given += try Self.expand(host: stdin, guest: "\(Job.standardInputPath)", option: "--stdin")
        }
        let tree = GuestTree(given)
        // A program that is in the tree already has its libraries there.
        if command[0].hasPrefix("/"), tree.entry(at: command[0])?.kind == .file { return (command[0], given) }

        let (path, guestPath) = try Self.program(command[0])
        let pack: ProgramPack
        do { pack = try ProgramPack(host: path, guest: guestPath, environment: variables) } catch {
            if case .program(.missing) = error { throw complaint("\(error)", ExitStatus.execNotFound) }
            throw complaint("\(error)", ExitStatus.execCannotRun)
        }
        return (guestPath, tree.completed(with: pack.files) + given)
    }

    /// Passes on how the program ended.
    private func finish(_ result: TrialResult) throws {
        if result.status != .exited(code: 0), let missing = result.missingSystemCalls {
            Terminal.complain("vbench: \(missing)")
        }
        switch result.status {
        case .exited(let code): throw ExitCode(code & 0xFF)
        case .signaled(let signal):
            Terminal.complain("vbench: the program was ended by \(SignalName.of(signal))")
            throw ExitStatus.signal(signal)
        case .failed(let failure) where failure.kind == .childDied && Terminal.outputIsClosed:
            // The reader of our output went away, as `head` does: end as any program in a pipeline would.
            throw ExitStatus.signal(SIGPIPE)
        case .failed(let failure):
            Terminal.complain("vbench: \(failure.message)")
            for line in failure.diagnosis { Terminal.complain("  \(line)") }
            switch failure.kind {
            case .timeout: throw ExitStatus.execTimeout
            case .invalid: throw ExitStatus.execCannotRun
            default: throw ExitStatus.execMachineFailed
            }
        }
    }

    private func complaint(_ message: String, _ code: ExitCode) -> ExitCode {
        Terminal.complain("vbench: \(message)")
        return code
    }

    /// The program's file and its place in the guest: a file of this host, or a program of vbench by its bare name.
    private static func program(_ name: String) throws -> (host: String, guest: String) {
        if !name.contains("/"), access(name, F_OK) != 0, let image = try GuestImages.program(named: name) {
            return (image, "/bin/" + name)
        }
        let path = absolute(name)
        return (path, path)
    }

    /// All of vbench's own standard input, as a file without a name.
    private static func ownInput() throws -> String {
        do {
            let folder = try TemporaryFolder.make("vbench-stdin")
            defer { rmdir(folder) }
            let path = folder + "/stdin"
            let file = try Descriptor(opening: path, flags: O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
            unlink(path)
            let input = Descriptor(owning: dup(STDIN_FILENO))
            while let bytes = try input.read(upTo: 1 << 16), !bytes.isEmpty { try file.write(bytes) }
            // Open to the end of this process: so long the path below leads to it.
            let kept = fcntl(file.number, F_DUPFD_CLOEXEC, 0)
            guard kept >= 0 else { throw SystemError("keep the standard input open") }
            return "/proc/\(getpid())/fd/\(kept)"
        } catch {
            Terminal.complain("vbench: --stdin -: \(error)")
            throw ExitStatus.execMachineFailed
        }
    }

    private static func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    }

    /// The file, or the folder with everything below it.
    private static func expand(host: String, guest: String, option: String = "--file") throws -> [GuestFile] {
        do { return try HostTree.entries(host: absolute(host), guest: guest) } catch {
            Terminal.complain("vbench: \(option) \(error)")
            throw ExitStatus.execCannotRun
        }
    }
}
