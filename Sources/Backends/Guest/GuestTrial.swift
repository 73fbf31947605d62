import GuestImages
import GuestInterface
import Host
import Machine
import Results

/// Runs a trial in a guest: the part that is the same for every VMM.
///
///     specification ─▶ initrd ─▶ machine (of the backend) ─▶ outcome + records ─▶ TrialResult
public enum GuestTrial {
    /// Runs `specification` in a machine that `run` builds, boots and runs to its end.
    ///
    /// - Parameters:
    ///   - observer: Told of the program's start and output, and of the kernel's log.
    ///   - run: Runs one machine of this configuration, with this observer. What it throws becomes the trial's failure.
    public static func run(
        _ specification: TrialSpecification, observer: any TrialObserver,
        machine run: (MachineConfiguration, any MachineObserver) throws -> MachineOutcome
    ) -> TrialResult {
        let start = TimestampCounter.now()
        var result: TrialResult
        do {
            let configuration = try self.configuration(specification)
            let records = GuestRecords(observer: observer, tscHertz: TimestampCounter.hertz)
            // Before the machine runs, and its jail shuts files out.
            let symbols = specification.profilesExits ? GuestSymbols(specification, configuration.kernel) : nil
            let outcome = try run(configuration, records)
            result = GuestTrialResult(specification, configuration.kernel, records, outcome, symbols).assembled()
        } catch {
            result = TrialResult(status: .failed(failure(error)))
            result.exitsUnavailable = "the machine did not run"
        }
        result.totalNanoseconds = TimestampCounter.nanoseconds(TimestampCounter.now() &- start)
        return result
    }

    private static func configuration(_ specification: TrialSpecification) throws -> MachineConfiguration {
        let initrd = try GuestImageBuilder(specification).initrd()
        var configuration = MachineConfiguration(
            kernel: try KernelImage(path: GuestImages.kernel()), initrd: initrd,
            memoryBytes: specification.memoryBytes, numaNode: specification.numaNode, seed: specification.seed,
            timeLimit: specification.timeLimitSeconds)
        configuration.profilesExits = specification.profilesExits
        configuration.keepsLedger = try LedgerOption.isOn(specification.options)
        let program = specification.arguments.first?.split(separator: "/").last.map(String.init)
        configuration.title = specification.title ?? program ?? ""
        return configuration
    }

    private static func failure(_ error: any Error) -> TrialFailure {
        switch error {
        case let error as GuestImageBuilder.Failure: TrialFailure(kind: .invalid, message: error.description)
        case let error as MachineError: TrialFailure(kind: kind(of: error), message: error.description)
        default: TrialFailure(kind: .internalError, message: "\(error)")
        }
    }

    private static func kind(of error: MachineError) -> TrialFailure.Kind {
        switch error {
        case .invalidConfiguration, .outOfGuestMemory: .invalid
        case .unavailable: .unavailable
        case .system, .invalidKernel, .badGuestAddress, .invalidMailbox: .internalError
        }
    }
}
