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

    public static func problem(with options: [String: String]) -> String? {
        do throws(TrialFailure) { _ = try hugePages(options) } catch { return error.message }
        do throws(MachineError) { _ = try LedgerOption.isOn(options) } catch { return error.description }
        return nil
    }

    public static func run(_ specification: TrialSpecification, observer: any TrialObserver) -> TrialResult {
        let hugePages: Bool
        do throws(TrialFailure) {
            hugePages = try Self.hugePages(specification.options)
        } catch { return TrialResult(status: .failed(error)) }
        // The child runs one trial: what the process counts and uses, the VM does, guest included. Software events add nothing
        // to the resource usage.
        let events = PerfCounters(process: 0)
        let hasHardwareEvents = events.unavailable["perf.instructions"] == nil
        var result = GuestTrial.run(specification, observer: observer) { configuration, machineObserver in
            let machine = try KVMMachine(configuration: configuration)
            if hugePages { machine.memory.adviseHugePages() }
            machine.cancellingSignals = [SIGINT, SIGTERM]
            machine.recordingCPUs = Placement.allowedCPUs.filter { $0 != specification.cpu }
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

    /// The option `hugePages` (`true` or `false`, by default `false` as for native programs that do not ask) has guest
    /// memory backed by transparent huge pages where the host gives them to shared memory on advice.
    private static func hugePages(_ options: [String: String]) throws(TrialFailure) -> Bool {
        if let unknown = options.keys.sorted().first(where: { $0 != "hugePages" && $0 != LedgerOption.name }) {
            throw TrialFailure(
                kind: .invalid, message: "kvm: there is no option \(unknown); possible: hugePages, ledger")
        }
        let value = options["hugePages"] ?? "false"
        guard let choice = Bool(value) else {
            throw TrialFailure(
                kind: .invalid, message: "kvm: hugePages=\(value) is unknown; possible: true, false")
        }
        return choice
    }
}
