import ArgumentParser

@main
struct VBench: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "vbench", abstract: "VMM performance analysis and benchmark suite.")
}
