import Glibc
import HardwareVMM
import Host
import Machine
import Results

/// The program in a guest under KVM.
public enum KVMBackend: Backend {
    public static let name = BackendName.kvm

    public static func availability() -> Availability {
        do throws(MachineError) {
            let system = try KVMSystem()
            return .available(detail: "\(KVMFlavour.detect().detail), API version \(system.apiVersion)")
        } catch {
            guard case .unavailable(let reason, let remedy) = error else {
                return .unavailable(reason: "\(error)", remedy: "see `dmesg`")
            }
            return .unavailable(reason: reason, remedy: remedy)
        }
    }

    public static func run(_ specification: TrialSpecification, observer: any TrialObserver) -> TrialResult {
        if let unknown = specification.options.keys.sorted().first {
            return TrialResult(
                status: .failed(TrialFailure(kind: .invalid, message: "kvm: there is no option \(unknown)")))
        }
        var result = GuestTrial.run(specification, observer: observer) { configuration, machineObserver in
            let machine = try KVMMachine(configuration: configuration)
            machine.cancellingSignals = [SIGINT, SIGTERM]
            return machine.run(observer: machineObserver) { try Jail.kvm().enter() }
        }
        // The child runs one trial: what the process used, the VM used.
        result.counters.merge(ResourceUsage.current().counters) { _, new in new }
        return result
    }
}
