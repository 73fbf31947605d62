import Backends
import CLinux
import Glibc
import Host
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
        // A child that died before it read its order must not take the lab along.
        signal(SIGPIPE, SIG_IGN)
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

    /// What a victim and its neighbour did.
    public struct NeighbourResult: Sendable {
        public var victim: TrialResult
        /// Every run of the aggressor beside the victim; the last was ended with it (`cancelled`).
        public var aggressors: [TrialResult]
    }

    /// Runs a victim beside an aggressor. The aggressor's program is running before the victim's machine starts, and is
    /// started again whenever it ends, for as long as the victim runs. An aggressor that fails makes the victim's result
    /// a failure: its time would not be that of a victim.
    public func run(
        victim: TrialSpecification, aggressor: TrialSpecification, backend: BackendName
    ) -> NeighbourResult {
        var ended: [TrialResult] = []
        do {
            var neighbour = try start(backend, aggressor, slot: 1, passesOutput: false)
            defer { neighbour.cancel() }
            wait(for: [neighbour]) { neighbour.programHasStarted || neighbour.result != nil }
            if isInterrupted { return NeighbourResult(victim: .failure(.cancelled, "cancelled"), aggressors: []) }
            if let early = neighbour.result, !early.isSuccess {
                return NeighbourResult(victim: Self.aggressorFailure(early), aggressors: [early])
            }
            let child = try start(backend, victim, slot: 0, passesOutput: false)
            defer { child.cancel() }
            while true {
                wait(for: [child, neighbour]) { child.result != nil || neighbour.result != nil }
                if child.result != nil || isInterrupted { break }
                guard let result = neighbour.result else { break }
                ended.append(result)
                guard result.isSuccess else {
                    return NeighbourResult(victim: Self.aggressorFailure(result), aggressors: ended)
                }
                neighbour = try start(backend, aggressor, slot: 1, passesOutput: false)
            }
            child.cancel()
            neighbour.cancel()
            ended.append(neighbour.result ?? .failure(.internalError, "the child has no result"))
            return NeighbourResult(
                victim: child.result ?? .failure(.internalError, "the child has no result"), aggressors: ended)
        } catch {
            return NeighbourResult(victim: .failure(.internalError, "\(error)"), aggressors: ended)
        }
    }

    private static func aggressorFailure(_ result: TrialResult) -> TrialResult {
        switch result.status {
        case .failed(let failure):
            .failure(failure.kind, "the aggressor failed: \(failure.message)", failure.diagnosis)
        case .exited(let code):
            .failure(.invalid, "the aggressor ended with code \(code)")
        case .signaled(let signal):
            .failure(.invalid, "the aggressor was ended by \(SignalName.of(signal))")
        }
    }

    public var isInterrupted: Bool { interrupts?.signal != nil }

    private func start(
        _ backend: BackendName, _ specification: TrialSpecification, slot: Int, passesOutput: Bool
    ) throws(SystemError) -> ChildProcess {
        let tscHertz = TimestampCounter.hertz
        var specification = specification
        specification.launchTSC = TimestampCounter.now()
        let order = TrialOrder(
            backend: backend, specification: specification, parent: getpid(), tscHertz: tscHertz,
            passesOutput: passesOutput)
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
    /// Whether the program ended by itself with code 0.
    var isSuccess: Bool { status == .exited(code: 0) }

    /// Why the trial gave no result, or nil when it did.
    public var failureKind: TrialFailure.Kind? {
        if case .failed(let failure) = status { failure.kind } else { nil }
    }
}
