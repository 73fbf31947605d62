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

    /// Why a file of the host that a suite names cannot be used, or nil: a program's libraries and all of a folder are looked for.
    static func problem(withHostFile path: String, _ use: HostFileUse) -> String? {
        do {
            switch use {
            case .program(let environment):
                _ = try ProgramPack(
                    host: path, guest: path, environment: environment.map { "\($0.key)=\($0.value)" })
            case .input: _ = try HostTree.entries(host: path, guest: "/")
            case .standardInput:
                guard try HostTree.entries(host: path, guest: "/").first?.kind == .file else {
                    return "\(path): a folder, which cannot be standard input"
                }
            }
            return nil
        } catch { return "\(error)" }
    }
}
