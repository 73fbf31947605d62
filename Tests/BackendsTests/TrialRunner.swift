import Backends
import Foundation
import Lab
import Results
import Testing

/// Runs trials as the lab does: each in a child process of the built `vbench`.
enum TrialRunner {
    /// `vbench` lies beside the test bundle.
    private static let launcher = ChildLauncher(
        executable: URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .appending(path: "vbench").path,
        arguments: [TrialChild.subcommand])

    /// Runs one trial; a test whose backend this host or build lacks is cancelled with the reason.
    static func run(_ backend: BackendName, _ specification: TrialSpecification) throws -> TrialResult {
        switch BackendRegistry.backend(backend)?.availability() {
        case .available: break
        case .unavailable(let reason, _): try Test.cancel("\(backend.rawValue) is unavailable: \(reason)")
        case nil: try Test.cancel("this build has no backend \(backend.rawValue)")
        }
        return Supervisor(launcher: launcher).run(backend, specification)
    }
}

extension TrialResult {
    /// The failure of a trial that gave no result.
    func failure() throws -> TrialFailure {
        guard case .failed(let failure) = status else { throw UnexpectedStatus(status: status) }
        return failure
    }
}

struct UnexpectedStatus: Error { var status: TrialStatus }
