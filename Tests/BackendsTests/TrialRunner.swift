import Backends
import Foundation
import GuestImages
import Lab
import Results
import Testing

/// Runs trials as the lab does: each in a child process of the built `vbench`.
enum TrialRunner {
    static let guests: [BackendName] = [.kvm, .software]
    static let backends: [BackendName] = [.native, .kvm, .software]

    /// `vbench` lies beside the test bundle.
    static let vbench = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        .appending(path: "vbench").path
    private static let launcher = ChildLauncher(executable: vbench, arguments: [TrialChild.subcommand])

    /// Runs one trial; a test whose backend this host or build lacks is cancelled with the reason.
    static func run(_ backend: BackendName, _ specification: TrialSpecification) throws -> TrialResult {
        switch BackendRegistry.backend(backend)?.availability() {
        case .available: break
        case .unavailable(let reason, _): try Test.cancel("\(backend.rawValue) is unavailable: \(reason)")
        case nil: try Test.cancel("this build has no backend \(backend.rawValue)")
        }
        return Supervisor(launcher: launcher).run(backend, specification)
    }

    /// What two runs of one program must agree in.
    private struct Outcome: Equatable, CustomStringConvertible {
        var status: TrialStatus
        var output: OutputDigest
        var error: OutputDigest

        init(_ result: TrialResult) {
            status = result.status
            output = result.standardOutput
            error = result.standardError
        }

        var description: String { "\(status)\nstdout \(output)\nstderr \(error)" }
    }

    /// Runs a program in a guest and natively, and expects the same end and the same output.
    static func expectSame(
        as guest: BackendName, _ specification: TrialSpecification, _ location: SourceLocation = #_sourceLocation
    ) throws -> (native: TrialResult, guest: TrialResult) {
        let found = try run(guest, specification)
        // Options are the guest's VMM's.
        var plain = specification
        plain.options = [:]
        let native = try run(.native, plain)
        #expect(Outcome(found) == Outcome(native), sourceLocation: location)
        return (native, found)
    }

    /// A benchmark program of vbench, with a memory that suffices for small arguments.
    static func specification(of program: String, _ arguments: [String]) throws -> TrialSpecification {
        let path = try #require(try GuestImages.program(named: program))
        var specification = TrialSpecification(
            arguments: ["/bin/\(program)"] + arguments,
            files: [GuestFile(hostPath: path, guestPath: "/bin/\(program)", executable: true)])
        specification.memoryBytes = 64 << 20
        specification.timeLimitSeconds = 60
        return specification
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
