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
/// The guest's TSC counts the host's cycles, from 0 at the machine's start where the accelerator can do so; so do the outcome's times.
struct QEMUMachine {
    static let executableName = "qemu-system-x86_64"

    /// The first of this name in PATH.
    static let executable: String? = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        .map { "\($0)/\(executableName)" }.first { access($0, X_OK) == 0 }

    /// Says so where there is none.
    static let missing = Availability.unavailable(
        reason: "\(executableName) is not in PATH", remedy: "apt-get install qemu-system-x86")

    private let configuration: MachineConfiguration
    private let accelerator: QEMUAccelerator
    private let cpu: Int?
    private let memory: GuestMemory
    private let mailbox: Mailbox
    private let folder: String
    private var initrdPath: String { folder + "/initrd" }
    private var errorText: [UInt8] = []
    /// What QEMU's process used, once it has run.
    private(set) var usage: ResourceUsage?

    private static let maximumErrorBytes = 4096

    /// Lays out memory and files. `cpu` is the host CPU for QEMU's threads, or nil for any.
    init(_ configuration: MachineConfiguration, _ accelerator: QEMUAccelerator, cpu: Int?) throws {
        self.configuration = configuration
        self.accelerator = accelerator
        self.cpu = cpu
        memory = try GuestMemory(bytes: configuration.memoryBytes, numaNode: configuration.numaNode)
        mailbox = try Mailbox(
            memory: memory, address: GuestPhysicalAddress(BootLayout.mailbox), bytes: BootLayout.mailboxBytes,
            guestRuns: true)
        folder = try TemporaryFolder.make("vbench-qemu")
        let file = try Descriptor(opening: initrdPath, flags: O_WRONLY | O_CREAT | O_EXCL)
        try file.write(configuration.initrd)
        file.close()
    }

    /// The kernel's: what QEMU does not tell it, then the configuration's.
    private var commandLine: String {
        var words = ["\(Doorbell.serialOption)", "\(BootInfo.tscHertzOption)\(TimestampCounter.hertz)"]
        if accelerator.quirks != 0 { words.append("\(BootQuirks.commandLineOption)\(accelerator.quirks)") }
        if !configuration.commandLine.isEmpty { words.append(configuration.commandLine) }
        return words.joined(separator: " ")
    }

    private var arguments: [String] {
        let kibibytes = "\(configuration.memoryBytes >> 10)K"
        return [
            Self.executable ?? Self.executableName, "-nodefaults", "-no-user-config", "-no-reboot",
            "-display", "none", "-m", kibibytes,
            "-object",
            "memory-backend-file,id=ram,size=\(kibibytes),share=on,mem-path=/proc/\(getpid())/fd/\(memory.fileDescriptor)",
            "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            "-kernel", configuration.kernel.path, "-initrd", initrdPath, "-append", commandLine,
            "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny",
        ] + accelerator.arguments
    }

    /// Runs the machine to its end.
    mutating func run(observer: any MachineObserver) throws -> MachineOutcome {
        defer {
            unlink(initrdPath)
            rmdir(folder)
        }
        guard let executable = Self.executable else {
            throw MachineError.unavailable(
                reason: "\(Self.executableName) is not in PATH", remedy: "apt-get install qemu-system-x86")
        }
        let input = try Descriptor(opening: "/dev/null", flags: O_RDONLY)
        let console = try Pipe()
        let errors = try Pipe()
        let hertz = TimestampCounter.hertz
        let start = TimestampCounter.now()
        let zero = accelerator.sharesTSC ? 0 : start
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
        let ending = try serve(console.reading, errors.reading, observer)
        if ending != .closed { process.kill() }
        let (status, used) = process.reap()
        usage = ResourceUsage(used)
        let finish = TimestampCounter.now()
        try? drain(observer)
        var outcome = MachineOutcome(
            end: end(ending, status), startTSC: start &- zero, endTSC: finish &- zero, tscHertz: hertz)
        outcome.diagnosis = errorLines.suffix(20).map { "qemu: \($0)" }
        return outcome
    }

    /// Why QEMU is no longer served.
    private enum Ending {
        /// It has closed its output.
        case closed
        case timeout
        /// KVM has given the guest up.
        case stopped
    }

    /// What this and wait4(2)'s status say of the guest.
    private func end(_ ending: Ending, _ status: Int32) -> MachineEnd {
        switch ending {
        case .timeout: return .timeout
        case .stopped:
            let line = errorLines.first { $0.contains(QEMUAccelerator.internalErrorText) }
            return .emulationFailure("QEMU stopped the guest: \(line ?? "no message")")
        case .closed: break
        }
        guard status & 0x7F == 0 else {
            return .hostFailure("QEMU was ended by signal \(status & 0x7F): \(errorLines.first ?? "no message")")
        }
        let code = status >> 8 & 0xFF
        // Shutdown, which is what -no-reboot makes of a triple fault.
        if code == 0 { return .tripleFault }
        // 1 is QEMU's own failure; the guest has no exit code 0.
        guard code & 1 == 1, code != 1 else {
            return .hostFailure("QEMU ended with code \(code): \(errorLines.last ?? "no message")")
        }
        return .debugExit(code: UInt32(code >> 1))
    }

    private var errorLines: [Substring] {
        String(decoding: errorText, as: UTF8.self).split(whereSeparator: \.isNewline)
    }

    /// Nanoseconds that QEMU is given to print a stopped guest's registers.
    private static let dumpTime = 0.2e9

    /// Takes what comes from QEMU until it closes its output, stops, or the time is up.
    private mutating func serve(
        _ console: Descriptor, _ errors: Descriptor, _ observer: any MachineObserver
    ) throws -> Ending {
        var deadline = MonotonicClock.now() + configuration.timeLimit * 1e9
        var atDeadline = Ending.timeout
        var watched = [console.number, errors.number].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        while watched[0].fd >= 0 || watched[1].fd >= 0 {
            let rest = deadline - MonotonicClock.now()
            if rest <= 0 { return atDeadline }
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
                if atDeadline == .timeout,
                    errorLines.contains(where: { $0.contains(QEMUAccelerator.internalErrorText) })
                {
                    deadline = min(deadline, MonotonicClock.now() + Self.dumpTime)
                    atDeadline = .stopped
                }
            }
        }
        return .closed
    }

    private func drain(_ observer: any MachineObserver) throws(MachineError) {
        try mailbox.drain { observer.record($0, payload: $1) }
    }
}
