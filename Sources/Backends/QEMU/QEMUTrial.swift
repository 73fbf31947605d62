import Host
import Results

/// A trial in a machine of QEMU's: what its two backends share.
enum QEMUTrial {
    /// Why these options cannot be used: QEMU's backends have none.
    static func problem(with options: [String: String], of backend: BackendName) -> String? {
        options.keys.min().map { "\(backend.rawValue): there is no option \($0); it has none" }
    }

    /// Runs the trial on `accelerator`.
    static func run(
        _ specification: TrialSpecification, backend: BackendName, accelerator: QEMUAccelerator,
        observer: any TrialObserver
    ) -> TrialResult {
        if let problem = problem(with: specification.options, of: backend) {
            return TrialResult(status: .failed(TrialFailure(kind: .invalid, message: problem)))
        }
        var usage: ResourceUsage?
        var result = GuestTrial.run(specification, observer: observer) { configuration, records in
            var machine = try QEMUMachine(configuration, accelerator, cpu: specification.cpu)
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
