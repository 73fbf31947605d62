import Backends
import CLinux
import Glibc
import Results

/// Starts trials' child processes and waits for them, one thread, no matter how they end.
///
/// Use from one thread that lives as long as the children: they die with the thread that started them.
public final class Supervisor {
    private let launcher: ChildLauncher
    private let interrupts: Interrupts?
    private let graceSeconds: Double
    /// Called at least ten times a second while waiting.
    public var onTick: () -> Void = {}

    public init(
        launcher: ChildLauncher = .trialChild, interrupts: Interrupts? = nil, graceSeconds: Double = 10
    ) {
        self.launcher = launcher
        self.interrupts = interrupts
        self.graceSeconds = graceSeconds
        // What a killed child leaves behind comes to us, to be killed and reaped.
        _ = clinux_adopt_orphans()
    }

    /// Runs one trial to its end. Cancelled at an interrupt.
    public func run(_ backend: BackendName, _ specification: TrialSpecification, passesOutput: Bool = false)
        -> TrialResult
    {
        do {
            let child = try start(backend, specification, slot: 0, passesOutput: passesOutput)
            wait(for: [child]) { child.result != nil }
            child.cancel()
            return child.result ?? .failure(.internalError, "the child has no result")
        } catch {
            return .failure(.internalError, "\(error)")
        }
    }

    /// Runs a victim beside an aggressor: the aggressor's program is running before the victim's machine starts, and
    /// must still be running when the victim ends.
    public func run(
        victim: TrialSpecification, aggressor: TrialSpecification, backend: BackendName
    ) -> TrialResult {
        do {
            let neighbour = try start(backend, aggressor, slot: 1, passesOutput: false)
            defer { neighbour.cancel() }
            wait(for: [neighbour]) { neighbour.programHasStarted || neighbour.result != nil }
            if isInterrupted { return .failure(.cancelled, "cancelled") }
            if let early = neighbour.result { return Self.aggressorFailure(early, "before the victim started") }
            let child = try start(backend, victim, slot: 0, passesOutput: false)
            wait(for: [child, neighbour]) { child.result != nil }
            child.cancel()
            neighbour.advance()
            if let early = neighbour.result, child.result?.failureKind != .cancelled {
                return Self.aggressorFailure(early, "before the victim did")
            }
            return child.result ?? .failure(.internalError, "the child has no result")
        } catch {
            return .failure(.internalError, "\(error)")
        }
    }

    private static func aggressorFailure(_ result: TrialResult, _ when: String) -> TrialResult {
        switch result.status {
        case .failed(let failure):
            .failure(failure.kind, "the aggressor failed \(when): \(failure.message)", failure.diagnosis)
        case .exited(let code):
            .failure(.invalid, "the aggressor ended with code \(code) \(when): give it more to do")
        case .signaled(let signal):
            .failure(.invalid, "the aggressor was ended by \(SignalName.of(signal)) \(when)")
        }
    }

    public var isInterrupted: Bool { interrupts?.signal != nil }

    private func start(
        _ backend: BackendName, _ specification: TrialSpecification, slot: Int, passesOutput: Bool
    ) throws(SystemError) -> ChildProcess {
        let order = TrialOrder(
            backend: backend, specification: specification, parent: getpid(), passesOutput: passesOutput)
        return try ChildProcess(order, launcher: launcher, slot: slot, graceSeconds: graceSeconds)
    }

    /// Serves `children` until `done` or an interrupt.
    private func wait(for children: [ChildProcess], until done: () -> Bool) {
        while !done() && !isInterrupted {
            var watched = children.flatMap(\.watched)
            if let interrupts { watched.append(interrupts.descriptor) }
            var entries = watched.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            poll(&entries, nfds_t(entries.count), 100)
            for child in children { child.advance() }
            onTick()
        }
    }
}

extension TrialResult {
    /// Why the trial gave no result, or nil when it did.
    public var failureKind: TrialFailure.Kind? {
        if case .failed(let failure) = status { failure.kind } else { nil }
    }
}
