import CLinux
import FoundationEssentials
import Glibc
import GuestInterface
import HardwareVMM
import Host
import Machine
import SoftwareVMM

/// Boots any kernel in a machine with a PC's small devices: what `vbench boot` does.
public struct KernelBoot: Codable, Sendable {
    public enum Technique: String, Codable, Sendable, CaseIterable { case kvm, software }

    public var technique: Technique
    public var kernel: String
    /// Nil: what the kernel's file asks for.
    public var bootProtocol: BootProtocol?
    public var initrd: String?
    public var commandLine = ""
    public var memoryBytes: UInt64 = 128 << 20
    public var timeLimitSeconds = 60.0
    /// Print the exit ledger at the end.
    public var showsExits = false

    public init(technique: Technique, kernel: String) {
        self.technique = technique
        self.kernel = kernel
    }

    /// Exit codes of `vbench boot` where the kernel did not give one by the debug-exit port.
    public enum ExitCode {
        /// HLT that nothing can end.
        public static let halted: Int32 = 121
        public static let reset: Int32 = 122
        public static let timeout: Int32 = 124
        /// The machine failed: triple fault, something unsupported, no such backend here.
        public static let machineFailed: Int32 = 125
        /// The kernel cannot be booted (wrong file, wrong protocol, too little memory).
        public static let cannotBoot: Int32 = 126
        /// No such file.
        public static let notFound: Int32 = 127
    }

    /// Whether the technique is there, the files are, and the kernel has the protocol. Nil when all is well.
    public func problem() -> (message: String, code: Int32)? {
        let availability = technique == .kvm ? KVMBackend.availability() : SoftwareBackend.availability()
        if case .unavailable(let reason, let remedy) = availability {
            return (
                "backend \(technique.rawValue) is not available: \(reason) (\(remedy))", ExitCode.machineFailed
            )
        }
        for path in [kernel] + (initrd.map { [$0] } ?? []) where access(path, R_OK) != 0 {
            return ("\(path): \(String(cString: strerror(errno)))", ExitCode.notFound)
        }
        do {
            _ = try configuration()
            return nil
        } catch { return ("\(error)", ExitCode.cannotBoot) }
    }

    private func configuration() throws -> MachineConfiguration {
        let image = try KernelImage(path: kernel)
        let chosen = bootProtocol ?? image.preferredProtocol
        _ = try image.plan(for: chosen)
        var configuration = MachineConfiguration(
            kernel: image, bootProtocol: chosen, commandLine: commandLine, memoryBytes: memoryBytes,
            timeLimit: timeLimitSeconds)
        if let initrd {
            configuration.initrd = [UInt8](try Data(contentsOf: URL(filePath: initrd)))
            configuration.initrdName = initrd
        }
        configuration.title = String(kernel.split(separator: "/").last ?? "")
        configuration.hasPlatformDevices = true
        configuration.hasLiveConsole = true
        configuration.consoleInput = 0
        return configuration
    }

    /// Boots and runs the kernel to its end in this process, which is jailed on the way. Output goes to standard output, what there
    /// is to say of the machine to standard error.
    ///
    /// - Returns: exit code for this process.
    public func run() -> Int32 {
        let observer = BootConsole()
        let outcome: MachineOutcome
        do {
            let configuration = try configuration()
            switch technique {
            case .kvm:
                let machine = try KVMMachine(configuration: configuration)
                outcome = machine.run(observer: observer) { try Jail.kvm().enter() }
            case .software:
                let machine = try SoftwareMachine(configuration: configuration)
                outcome = machine.run(observer: observer) { try Jail.software($0).enter() }
            }
        } catch {
            complain("vbench: \(error)")
            switch error as? MachineError {
            case .invalidKernel, .invalidConfiguration, .outOfGuestMemory: return ExitCode.cannotBoot
            default: return ExitCode.machineFailed
            }
        }
        if showsExits { complain(Self.ledger(outcome)) }
        return conclude(outcome)
    }

    private func conclude(_ outcome: MachineOutcome) -> Int32 {
        let (message, code): (String, Int32)
        switch outcome.end {
        case .debugExit(let value): return Int32(value & 0xFF)
        case .reset: return ExitCode.reset
        case .halted: return ExitCode.halted
        case .tripleFault: (message, code) = ("the kernel's CPU shut down (triple fault)", ExitCode.machineFailed)
        case .timeout:
            (message, code) = ("the time limit of \(timeLimitSeconds) s was reached", ExitCode.timeout)
        case .cancelled: (message, code) = ("cancelled", ExitCode.machineFailed)
        case .emulationFailure(let reason), .guestMemoryFault(let reason), .hostFailure(let reason):
            (message, code) = (reason, ExitCode.machineFailed)
        }
        complain("vbench: \(message)")
        for line in outcome.diagnosis { complain("  \(line)") }
        return code
    }

    private static func ledger(_ outcome: MachineOutcome) -> String {
        let exits = outcome.exits.filter { $0.handler != .inline }
        return Dictionary(grouping: exits, by: \.reason.name).mapValues { $0.reduce(0) { $0 + $1.count } }
            .sorted { ($1.value, $0.key) < ($0.value, $1.key) }
            .map { "\($0.key): \($0.value)" }.joined(separator: "\n")
    }

    private func complain(_ message: String) { try? writeAll(Array((message + "\n").utf8), to: 2) }
}

/// The kernel's console on this process's standard output and standard error.
private final class BootConsole: MachineObserver {
    func serialOutput(_ bytes: UnsafeRawBufferPointer) { try? writeAll(bytes, to: 1) }

    /// Kernels of the vbench protocol say through the mailbox what others say through the serial port.
    func record(_ header: MailboxRecordHeader, payload: UnsafeRawBufferPointer) {
        switch header.kind {
        case MailboxRecordKind.output: try? writeAll(payload, to: header.detail == 2 ? 2 : 1)
        case MailboxRecordKind.kernelMessage:
            try? writeAll(payload, to: 2)
            try? writeAll(Array("\n".utf8), to: 2)
        default: break
        }
    }
}
