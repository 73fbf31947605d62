import Backends
import GuestImages
import GuestInterface
import Suite

/// Turns a workload into what a backend is told.
struct TrialSpecifier {
    let files: SuiteFiles
    let cpus: CPUPlacement

    /// - Throws: `SystemError`, `HostTreeError`, `ProgramPackError` or `GuestImageError` when a file of the workload cannot be had.
    func specification(_ workload: Workload, options: [String: String], seed: UInt64) throws -> TrialSpecification {
        let environment = workload.environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        let given = try workload.files.flatMap(entries)
        let tree = GuestTree(given)
        let program: String
        let packed: [GuestFile]
        switch workload.program {
        case .builtIn(let name):
            guard let path = try GuestImages.program(named: name) else { throw UnknownProgram(name: name) }
            program = "/bin/\(name)"
            packed = [GuestFile(hostPath: path, guestPath: program, executable: true)]
        case .host(let path):
            program = path
            packed = try ProgramPack(host: path, guest: path, environment: environment).files
        }
        var specification = TrialSpecification(
            arguments: [program] + workload.arguments, files: tree.completed(with: packed) + given)
        if let input = workload.standardInput {
            specification.files.append(
                GuestFile(hostPath: try files.path(of: input), guestPath: "\(Job.standardInputPath)"))
        }
        specification.environment = environment
        specification.workingDirectory = workload.workingDirectory
        specification.memoryBytes = workload.memoryBytes
        specification.timeLimitSeconds = workload.timeLimitSeconds
        specification.seed = seed
        specification.title = workload.name
        specification.options = options
        specification.cpu =
            switch workload.cpu {
            case .auto: cpus.measured
            case .float: nil
            case .pinned(let number): number
            }
        return specification
    }

    /// A folder of the host keeps the permissions that it has; a single file is executable when the suite says so.
    private func entries(_ file: InputFile) throws -> [GuestFile] {
        let path = try files.path(of: file.content)
        let entries = try HostTree.entries(host: path, guest: file.guestPath)
        guard entries.first?.kind == .file else { return entries }
        return [GuestFile(hostPath: path, guestPath: file.guestPath, executable: file.executable)]
    }

    struct UnknownProgram: Error, CustomStringConvertible {
        var name: String
        var description: String { "no program named \(name) comes with vbench (see `vbench list`)" }
    }
}
