import Host
import Machine
import Results
import SoftwareVMM

/// The software VMM: ring 3 by direct execution, ring 0 by binary translation.
public enum SoftwareBackend: Backend {
    public static let name = BackendName.software

    public static func availability() -> Availability {
        switch SoftwareMachine.support() {
        case .supported:
            .available(detail: "binary translation of ring 0; ring 3 run directly or translated")
        case .unavailable(let reason, let remedy):
            .unavailable(reason: reason, remedy: remedy)
        }
    }

    public static func problem(with options: [String: String]) -> String? {
        do throws(MachineError) {
            _ = try self.options(options)
            _ = try LedgerOption.isOn(options)
        } catch { return error.description }
        return nil
    }

    public static func run(_ specification: TrialSpecification, observer: any TrialObserver) -> TrialResult {
        var result = GuestTrial.run(specification, observer: observer) { configuration, records in
            let machine = try SoftwareMachine(
                configuration: configuration, options: try options(specification.options))
            if let trace = specification.trace {
                machine.tracer = try SoftwareTrace.tracer(
                    trace, kernel: configuration.kernel, specification: specification)
            }
            return machine.run(observer: records) { try Jail.software($0).enter() }
        }
        // The child runs one trial: what the process used, the VM used.
        result.counters.merge(ResourceUsage.current().counters) { _, new in new }
        return result
    }

    /// Backend options: `codeCacheBytes`, `userMode`, `stress`, and `ledger` (`LedgerOption`).
    private static func options(_ given: [String: String]) throws(MachineError) -> SoftwareMachine.Options {
        var options = SoftwareMachine.Options()
        for (name, value) in given.sorted(by: { $0.key < $1.key }) {
            switch name {
            case "codeCacheBytes":
                guard let bytes = Int(value) else {
                    throw .invalidConfiguration("option codeCacheBytes=\(value): must be a number of bytes")
                }
                options.codeCacheBytes = bytes
            case "userMode":
                guard let mode = UserMode(rawValue: value) else {
                    let known = UserMode.allCases.map(\.rawValue).joined(separator: ", ")
                    throw .invalidConfiguration("option userMode=\(value): must be one of \(known)")
                }
                options.userMode = mode
            case "stress":
                guard let seed = UInt64(value) else {
                    throw .invalidConfiguration("option stress=\(value): must be a seed, a number")
                }
                options.stress = seed
            case LedgerOption.name: break
            default:
                throw .invalidConfiguration(
                    "the software backend has no option '\(name)'; it has codeCacheBytes, ledger, userMode and stress")
            }
        }
        return options
    }
}
