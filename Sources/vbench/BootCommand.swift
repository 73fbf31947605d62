import ArgumentParser
import Backends
import CLinux
import FoundationEssentials
import Glibc
import Lab
import Machine

extension KernelBoot.Technique: ExpressibleByArgument {}

struct BootCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "boot",
        abstract: "Boot a kernel in a fresh VM, with its serial console here.",
        discussion: """
            KERNEL is an ELF file (or any file with a multiboot header that says where to load it) for one of these \
            protocols: multiboot 1, PVH, or vbench's own. The machine has one CPU, a serial port (standard input and \
            output), two 8259, an 8254, an I/O APIC, a CMOS clock, a keyboard controller that can reset it, and a \
            debug-exit port at 0xF4 as QEMU's isa-debug-exit. There are no disks, no network, no video, no firmware \
            and no ACPI tables.

            Examples:
              vbench boot --backend software kernel.elf
              vbench boot --backend kvm --initrd modules.img --append "quiet" kernel.elf

            Exit codes: the low byte of what the kernel wrote to the debug-exit port, or
              121    the kernel halted for good
              122    the kernel reset its machine
              124    the time limit was reached
              125    the machine failed (triple fault, something unsupported, no such
                     backend here, ...)
              126    KERNEL cannot be booted: not a kernel, not with this protocol, not
                     in this much memory
              127    KERNEL or the file of --initrd was not found
            """)

    @Option(help: "What runs it: \(KernelBoot.Technique.allCases.map(\.rawValue).joined(separator: ", ")).")
    var backend: KernelBoot.Technique

    @Option(
        name: .customLong("protocol"),
        help: "How to boot it: auto (what the file asks for), vbench, pvh, multiboot.")
    var bootProtocol: ProtocolChoice = .auto

    @Option(help: ArgumentHelp("A file handed to the kernel: initial RAM disk, module.", valueName: "file"))
    var initrd: String?

    @Option(parsing: .unconditional, help: ArgumentHelp("The kernel's command line.", valueName: "text"))
    var append = ""

    @Option(help: ArgumentHelp("Guest memory, e.g. 256MiB.", valueName: "size"))
    var memory = ByteCount(bytes: 128 << 20)

    @Option(help: ArgumentHelp("End the machine after this long.", valueName: "seconds"))
    var timeout = 600.0

    @Flag(help: "Print the counts of exits to standard error at the end.")
    var exits = false

    @Argument(help: "The kernel's file.")
    var kernel: String

    enum ProtocolChoice: String, ExpressibleByArgument, CaseIterable {
        case auto, vbench, pvh, multiboot
    }

    func validate() throws {
        guard timeout > 0, timeout.isFinite else { throw ValidationError("--timeout must be above 0 seconds.") }
        guard memory.bytes % 4096 == 0 else { throw ValidationError("--memory must be a multiple of 4096 bytes.") }
    }

    func run() throws {
        var boot = KernelBoot(technique: backend, kernel: kernel)
        boot.bootProtocol = BootProtocol(rawValue: bootProtocol.rawValue)
        boot.initrd = initrd
        boot.commandLine = append
        boot.memoryBytes = memory.bytes
        boot.timeLimitSeconds = timeout
        boot.showsExits = exits
        if let problem = boot.problem() {
            Terminal.complain("vbench: \(problem.message)")
            throw ExitCode(problem.code)
        }
        throw try Self.runInChild(boot)
    }

    /// The machine has a process of its own: whatever the kernel does to it, this one says how it ended. The child shares
    /// terminal and process group, so that Ctrl-C ends both.
    private static func runInChild(_ boot: KernelBoot) throws -> ExitCode {
        let order = String(decoding: try JSONEncoder().encode(boot), as: UTF8.self)
        let arguments = ["vbench", BootChildCommand.name, String(getpid()), order]
        let argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        let environment = ChildEnvironment.inherited.map { "\($0.key)=\($0.value)" }
        let envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
        defer { (argv + envp).forEach { free($0) } }
        var pid: pid_t = 0
        let status = posix_spawn(&pid, "/proc/self/exe", nil, nil, argv, envp)
        guard status == 0 else { throw SystemError("start the machine's process", code: status) }
        var ended: Int32 = 0
        while waitpid(pid, &ended, 0) < 0 && errno == EINTR {}
        let signal = ended & 0x7F
        guard signal != 0 else { return ExitCode(ended >> 8 & 0xFF) }
        // A reader of the console that went away, as `head` does, ends a program quietly.
        if signal == SIGPIPE { return ExitStatus.signal(SIGPIPE) }
        Terminal.complain("vbench: the machine's process was killed by \(SignalName.of(signal))")
        return ExitStatus.execMachineFailed
    }
}

/// The inside of a machine of `vbench boot`; `vbench` starts it for itself.
struct BootChildCommand: ParsableCommand {
    static let name = "boot-child"
    static let configuration = CommandConfiguration(
        commandName: name, abstract: "Boots one kernel (used by vbench itself).", shouldDisplay: false)

    @Argument var parent: Int32
    @Argument var order: String

    func run() throws {
        _ = clinux_die_with_parent(SIGKILL)
        // Standard input, output and error, and nothing else of ours.
        _ = clinux_close_from(3)
        // The parent may have died before the death signal was set up.
        guard getppid() == parent else { throw ExitStatus.usage }
        let boot = try JSONDecoder().decode(KernelBoot.self, from: Data(order.utf8))
        throw ExitCode(boot.run())
    }
}
