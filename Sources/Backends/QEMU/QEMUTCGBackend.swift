import Glibc
import Host
import Results

/// The program in a guest under QEMU's emulator (TCG): the same kernel image and files, booted by PVH, on a machine that no
/// code of vbench has a part in. A referee, and a base line for binary translation.
public enum QEMUTCGBackend: Backend {
    public static let name = BackendName.qemuTCG

    public static func availability() -> Availability {
        guard let path = QEMUMachine.executable else {
            return .unavailable(
                reason: "\(QEMUMachine.executableName) is not in PATH", remedy: "apt-get install qemu-system-x86")
        }
        return .available(detail: "\(path), emulation (TCG)")
    }

    public static func problem(with options: [String: String]) -> String? {
        options.keys.min().map { "qemu-tcg: there is no option \($0); it has none" }
    }

    public static func run(_ specification: TrialSpecification, observer: any TrialObserver) -> TrialResult {
        if let problem = problem(with: specification.options) {
            return TrialResult(status: .failed(TrialFailure(kind: .invalid, message: problem)))
        }
        var usage: ResourceUsage?
        var result = GuestTrial.run(specification, observer: observer) { configuration, records in
            var machine = try QEMUMachine(configuration, cpu: specification.cpu)
            let outcome = try machine.run(observer: records)
            usage = machine.usage
            return outcome
        }
        result.exits = nil
        result.exitsUnavailable = "QEMU does not tell its exits"
        if let usage { result.counters.merge(usage.counters) { _, new in new } }
        return result
    }
}
