import PackagePlugin

/// Compiles the guest code in `Workloads/` when the package is built.
@main
struct GuestBuild: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] { [] }
}
