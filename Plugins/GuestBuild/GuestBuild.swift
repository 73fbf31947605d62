import Foundation
import PackagePlugin

/// Compiles the guest code in `Workloads/` when the package is built.
///
/// One build command for the guest kernel and one for each user program, so that a change compiles only what it
/// touches. The commands are the `build.sh` scripts that also work by hand; their outputs become resources of the target
/// that uses this plugin. SwiftPM has no plugin sandbox on Linux; the scripts write only below the plugin's
/// work folder, so they would run in one too.
@main
struct GuestBuild: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let package = context.package.directoryURL
        let outputs = context.pluginWorkDirectoryURL
        let workloads = package.appending(path: "Workloads")
        let interface = try sources(below: package.appending(path: "Sources/GuestInterface"))
        let environment = try toolEnvironment(context)

        let programs = workloads.appending(path: "Programs")
        let programScript = programs.appending(path: "build.sh")
        let loops = try sources(below: workloads.appending(path: "Shared"))
        let shared = try sources(below: programs, except: { isProgram($0, in: programs) }) + loops + interface
        var commands: [Command] = []
        for source in try sources(below: programs) where isProgram(source, in: programs) {
            let name = source.deletingPathExtension().lastPathComponent
            commands.append(
                .buildCommand(
                    displayName: "Compiling guest program \(name)", executable: shell,
                    arguments: [programScript.path, outputs.path, name], environment: environment,
                    inputFiles: [source] + shared, outputFiles: [outputs.appending(path: name + ".elf")]))
        }

        let kernel = workloads.appending(path: "Nub")
        let kernelScript = kernel.appending(path: "build.sh")
        commands.append(
            .buildCommand(
                displayName: "Compiling guest kernel nub", executable: shell,
                arguments: [kernelScript.path, outputs.path], environment: environment,
                inputFiles: try sources(below: kernel) + loops + interface,
                outputFiles: [outputs.appending(path: "nub.elf")]))
        return commands
    }

    private var shell: URL { URL(filePath: "/bin/sh") }

    /// A Swift file directly in `Workloads/Programs` is one program; everything deeper is shared by all.
    private func isProgram(_ file: URL, in programs: URL) -> Bool {
        file.pathExtension == "swift" && file.deletingLastPathComponent().path == programs.path
    }

    /// `PATH` with the folder of the running toolchain first: its swiftc, clang and ld.lld belong together.
    private func toolEnvironment(_ context: PluginContext) throws -> [String: String] {
        var environment = ProcessInfo.processInfo.environment
        let toolchain = try context.tool(named: "swiftc").url.deletingLastPathComponent().path
        environment["PATH"] = toolchain + ":" + (environment["PATH"] ?? "/usr/bin:/bin")
        return environment
    }

    /// Every source file below `folder`, in a stable order; these are the inputs a build depends on.
    private func sources(below folder: URL, except isExcluded: (URL) -> Bool = { _ in false }) throws -> [URL] {
        let extensions: Set<String> = ["swift", "S", "c", "h", "lds", "modulemap", "sh"]
        guard let walk = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil) else {
            throw GuestBuildError.unreadable(folder.path)
        }
        return walk.compactMap { $0 as? URL }
            .map { URL(filePath: $0.path) }
            .filter { extensions.contains($0.pathExtension) && !isExcluded($0) }
            .sorted { $0.path < $1.path }
    }
}

enum GuestBuildError: Error, CustomStringConvertible {
    case unreadable(String)

    var description: String {
        switch self {
        case .unreadable(let path): "cannot read the guest sources in \(path): is the checkout complete?"
        }
    }
}
