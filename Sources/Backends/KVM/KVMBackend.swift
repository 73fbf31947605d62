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
        // The child runs one trial: what the process counts and uses, the VM does, guest included. Software events add nothing
        // to the resource usage.
        let events = PerfCounters(process: 0)
        let hasHardwareEvents = events.unavailable["perf.instructions"] == nil
        var result = GuestTrial.run(specification, observer: observer) { configuration, machineObserver in
            let machine = try KVMMachine(configuration: configuration)
            machine.cancellingSignals = [SIGINT, SIGTERM]
            return machine.run(observer: machineObserver) {
                if hasHardwareEvents { events.start() }
                try Jail.kvm().enter()
            }
        }
        result.counters.merge(ResourceUsage.current().counters) { _, new in new }
        if hasHardwareEvents {
            result.counters.merge(events.read()) { _, new in new }
            result.countersUnavailable.merge(events.unavailable) { _, new in new }
        } else {
            result.countersUnavailable["perf"] = events.unavailable["perf.instructions"]
        }
        return result
    }
}
