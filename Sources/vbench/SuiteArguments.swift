import ArgumentParser
import Backends
import GuestImages
import Lab
import Suite

/// Reads suites for the commands that take one.
enum SuiteArguments {
    /// What a suite may name in this build.
    static var vocabulary: Vocabulary {
        Vocabulary(
            backends: BackendName.allCases.map(\.rawValue), programs: GuestImages.programs.map(\.name),
            optionProblem: { backend, options in
                BackendName(rawValue: backend).flatMap(BackendRegistry.backend)?.problem(with: options)
            })
    }

    /// The validated suite.
    ///
    /// - Throws: the exit code, after every problem has been printed.
    static func load(_ path: String) throws -> Suite {
        do { return try Suite.load(path: path, vocabulary: vocabulary) } catch {
            Terminal.complain("vbench: the suite cannot be used\n\(error)")
            let unreadable = error.problems.allSatisfy { $0.path == nil && $0.position == nil }
            throw unreadable ? ExitStatus.noInput : ExitStatus.invalidSuite
        }
    }
}
