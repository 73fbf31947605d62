import Backends
import GuestImages
import GuestInterface
import Suite

/// Turns a workload into what a backend is told.
struct TrialSpecifier {
    let files: SuiteFiles
    let cpus: CPUPlacement

    /// - Throws: `SystemError` or `GuestImageError` when a file of the workload cannot be had.
    func specification(_ workload: Workload, options: [String: String], seed: UInt64) throws -> TrialSpecification {
        let program: GuestFile
        switch workload.program {
        case .builtIn(let name):
            guard let path = try GuestImages.program(named: name) else { throw UnknownProgram(name: name) }
            program = GuestFile(hostPath: path, guestPath: "/bin/\(name)", executable: true)
        case .host(let path):
            program = GuestFile(hostPath: path, guestPath: path, executable: true)
        }
        var specification = TrialSpecification(arguments: [program.guestPath] + workload.arguments, files: [program])
        for file in workload.files where file.guestPath != program.guestPath {
            specification.files.append(
                GuestFile(
                    hostPath: try files.path(of: file.content), guestPath: file.guestPath, executable: file.executable))
        }
        if let input = workload.standardInput {
            specification.files.append(
                GuestFile(hostPath: try files.path(of: input), guestPath: "\(Job.standardInputPath)"))
        }
        specification.environment = workload.environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        specification.workingDirectory = workload.workingDirectory
        specification.memoryBytes = workload.memoryBytes
        specification.timeLimitSeconds = workload.timeLimitSeconds
        specification.seed = seed
        specification.options = options
        specification.cpu =
            switch workload.cpu {
            case .auto: cpus.measured
            case .float: nil
            case .pinned(let number): number
            }
        return specification
    }

    struct UnknownProgram: Error, CustomStringConvertible {
        var name: String
        var description: String { "no program named \(name) comes with vbench (see `vbench list`)" }
    }
}
