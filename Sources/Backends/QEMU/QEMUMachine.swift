import CLinux
import Foundation
import Glibc
import GuestInterface
import Host
import Machine

/// A machine of QEMU's that runs our kernel.
///
///     guest RAM      a memfd of ours, mapped by both: the mailbox is read where it lies
///     serial port    a pipe: `Doorbell.serialByte` says that the mailbox wants to be read, all else is text
///     debug exit     QEMU's exit code: (value << 1) | 1
///
/// The guest's TSC counts the host's cycles from 0 at the machine's start (QEMU, `cpu_get_ticks`); so do the outcome's times.
struct QEMUMachine {
    static let executableName = "qemu-system-x86_64"

    /// The first of this name in PATH.
    static let executable: String? = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        .map { "\($0)/\(executableName)" }.first { access($0, X_OK) == 0 }

    private let configuration: MachineConfiguration
    private let cpu: Int?
    private let memory: GuestMemory
    private let mailbox: Mailbox
    private let initrdPath: String
    private var errorText: [UInt8] = []
    /// What QEMU's process used, once it has run.
    private(set) var usage: ResourceUsage?

    private static let maximumErrorBytes = 4096

    /// Lays out memory and files. `cpu` is the host CPU for QEMU's threads, or nil for any.
    init(_ configuration: MachineConfiguration, cpu: Int?) throws {
        self.configuration = configuration
        self.cpu = cpu
        memory = try GuestMemory(bytes: configuration.memoryBytes, numaNode: configuration.numaNode)
        mailbox = try Mailbox(
            memory: memory, address: GuestPhysicalAddress(BootLayout.mailbox), bytes: BootLayout.mailboxBytes,
            guestRuns: true)
        // In the trial's own temporary folder, which goes with it.
        initrdPath = try TemporaryFolder.make("vbench-qemu") + "/initrd"
        let file = try Descriptor(opening: initrdPath, flags: O_WRONLY | O_CREAT | O_EXCL)
        try file.write(configuration.initrd)
        file.close()
    }

    private var arguments: [String] {
        let kibibytes = "\(configuration.memoryBytes >> 10)K"
        let line =
            "\(Doorbell.serialOption)" + (configuration.commandLine.isEmpty ? "" : " ") + configuration.commandLine
        return [
            Self.executable ?? Self.executableName, "-nodefaults", "-no-user-config", "-no-reboot",
            "-display", "none", "-accel", "tcg", "-cpu", "max",
            "-machine", "pc,memory-backend=ram", "-m", kibibytes,
            "-object",
            "memory-backend-file,id=ram,size=\(kibibytes),share=on,mem-path=/proc/\(getpid())/fd/\(memory.fileDescriptor)",
            "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            "-kernel", configuration.kernel.path, "-initrd", initrdPath, "-append", line,
            "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny",
        ]
    }

    /// Runs the machine to its end.
    mutating func run(observer: any MachineObserver) throws -> MachineOutcome {
        guard let executable = Self.executable else {
            throw MachineError.unavailable(
                reason: "\(Self.executableName) is not in PATH", remedy: "apt-get install qemu-system-x86")
        }
        let input = try Descriptor(opening: "/dev/null", flags: O_RDONLY)
        let console = try Pipe()
        let errors = try Pipe()
        let hertz = TimestampCounter.hertz
        let start = TimestampCounter.now()
        var process = try NativeProcess(
            program: executable, arguments: arguments, environment: ["PATH=/usr/bin:/bin"], root: "/",
            workingDirectory: "/", mode: .rewrittenPaths, input: input.number, output: console.writing.number,
            error: errors.writing.number, cpu: cpu)
        input.close()
        console.writing.close()
        errors.writing.close()
        // This thread only reads the mailbox: not where the guest runs.
        if let cpu { Placement.leave(cpu: cpu) }
        process.release()
        let timedOut = try serve(console.reading, errors.reading, observer)
        if timedOut { process.kill() }
        let (status, used) = process.reap()
        usage = ResourceUsage(used)
        let ticks = TimestampCounter.now() &- start
        try? drain(observer)
        var outcome = MachineOutcome(
            end: timedOut ? .timeout : end(status), startTSC: 0, endTSC: ticks, tscHertz: hertz)
        let lines = String(decoding: errorText, as: UTF8.self).split(whereSeparator: \.isNewline)
        outcome.diagnosis = lines.suffix(20).map { "qemu: \($0)" }
        return outcome
    }

    /// What wait4(2)'s status says of the guest.
    private func end(_ status: Int32) -> MachineEnd {
        guard status & 0x7F == 0 else { return .hostFailure("QEMU was ended by signal \(status & 0x7F)") }
        let code = status >> 8 & 0xFF
        // Shutdown, which is what -no-reboot makes of a triple fault.
        if code == 0 { return .tripleFault }
        // 1 is QEMU's own failure; the guest has no exit code 0.
        guard code & 1 == 1, code != 1 else {
            let text =
                String(decoding: errorText, as: UTF8.self).split(whereSeparator: \.isNewline).last ?? "no message"
            return .hostFailure("QEMU ended with code \(code): \(text)")
        }
        return .debugExit(code: UInt32(code >> 1))
    }

    /// Takes what comes from QEMU until it closes its output. True at the time limit.
    private mutating func serve(
        _ console: Descriptor, _ errors: Descriptor, _ observer: any MachineObserver
    ) throws -> Bool {
        let deadline = MonotonicClock.now() + configuration.timeLimit * 1e9
        var watched = [console.number, errors.number].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        while watched[0].fd >= 0 || watched[1].fd >= 0 {
            let rest = deadline - MonotonicClock.now()
            if rest <= 0 { return true }
            let ready = poll(&watched, nfds_t(watched.count), Int32(min(rest / 1e6 + 1, 60_000)))
            if ready < 0 && errno != EINTR { throw SystemError("poll") }
            if watched[0].revents != 0 {
                let bytes = try console.read(upTo: 4096) ?? []
                if bytes.isEmpty { watched[0].fd = -1 }
                let text = bytes.filter { $0 != Doorbell.serialByte }
                if !text.isEmpty { text.withUnsafeBytes { observer.serialOutput($0) } }
                if text.count != bytes.count { try drain(observer) }
            }
            if watched[1].revents != 0 {
                let bytes = try errors.read(upTo: 4096) ?? []
                if bytes.isEmpty { watched[1].fd = -1 }
                errorText += bytes.prefix(Self.maximumErrorBytes - errorText.count)
            }
        }
        return false
    }

    private func drain(_ observer: any MachineObserver) throws(MachineError) {
        try mailbox.drain { observer.record($0, payload: $1) }
    }
}
