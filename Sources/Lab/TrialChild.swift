import Backends
import CLinux
import FoundationEssentials
import Glibc
import Host
import Results

/// The inside of a trial's child process: takes an order, places itself, runs the backend, reports the result.
public enum TrialChild {
    /// The hidden subcommand of `vbench` that ends up here.
    public static let subcommand = "trial-child"

    /// Runs the one trial that standard input asks for.
    ///
    /// - Returns: exit code: 0 when a result was reported (also that of a failed trial), 64 when nothing usable came in.
    public static func main() -> Int32 {
        _ = clinux_die_with_parent(SIGKILL)
        _ = clinux_adopt_orphans()
        // What whoever started vbench left open is not for a guest that breaks out of its machine.
        _ = clinux_close_from(ChildProtocol.eventDescriptor + 1)
        var noCore = rlimit(rlim_cur: 0, rlim_max: 0)
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &noCore)

        let order: TrialOrder
        do {
            let text = try Descriptor(owning: 0).readToEnd()
            order = try JSONDecoder().decode(TrialOrder.self, from: Data(text))
        } catch {
            writeError(
                "vbench trial-child: this command is for vbench itself; its order on standard input is unusable: \(error)"
            )
            return 64
        }
        // The parent may have died before the death signal was set up.
        guard getppid() == order.parent else { return 64 }

        TimestampCounter.adopt(hertz: order.tscHertz)

        let observer = EventObserver(passesOutput: order.passesOutput)
        let result = run(order, observer)
        do { try observer.send(.finished(result)) } catch {
            writeError("vbench trial-child: cannot report the result: \(error)")
            return 64
        }
        return 0
    }

    private static func run(_ order: TrialOrder, _ observer: EventObserver) -> TrialResult {
        guard let backend = BackendRegistry.backend(order.backend) else {
            return TrialResult(
                status: .failed(
                    TrialFailure(
                        kind: .unavailable, message: "this build of vbench has no backend \(order.backend.rawValue)")))
        }
        do {
            if let cpu = order.specification.cpu { try Placement.pin(to: cpu) }
            if let node = order.specification.numaNode { try Placement.bindMemory(toNode: node) }
        } catch {
            return TrialResult(status: .failed(TrialFailure(kind: .invalid, message: "\(error)")))
        }
        return backend.run(order.specification, observer: observer)
    }

    private static func writeError(_ line: String) { try? writeAll(Array((line + "\n").utf8), to: 2) }
}

/// Sends events up as they happen.
private final class EventObserver: TrialObserver {
    private let passesOutput: Bool

    init(passesOutput: Bool) { self.passesOutput = passesOutput }

    func send(_ event: ChildEvent) throws {
        try writeAll(ChildProtocol.frame(event), to: ChildProtocol.eventDescriptor)
    }

    // A parent that no longer listens is about to end this process; there is no one to tell.
    func programStarted() { try? send(.programStarted) }

    func kernelLogged(_ line: String) { try? send(.kernelLogged(line)) }

    func programWrote(stream: Int, bytes: UnsafeRawBufferPointer) {
        guard passesOutput else { return }
        try? writeAll(bytes, to: Int32(stream))
    }
}
