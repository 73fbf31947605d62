import ArgumentParser
import Backends
import FoundationEssentials
import GuestImages
import Lab

struct ListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the backends and the programs that come with vbench.",
        discussion: """
            Examples:
              vbench list
              vbench list --json
            """)

    @Flag(help: "Print JSON.")
    var json = false

    private struct Listing: Encodable {
        struct BackendEntry: Encodable {
            var name: String
            var available: Bool
            var detail: String?
            var reason: String?
            var remedy: String?
        }
        struct ProgramEntry: Encodable {
            var name: String
            var summary: String
            var operation: String
            var options: [String]
        }
        var backends: [BackendEntry]
        var programs: [ProgramEntry]
    }

    func run() throws {
        let listing = Listing(
            backends: BackendRegistry.all.map { backend in
                switch backend.availability() {
                case .available(let detail):
                    .init(name: backend.name.rawValue, available: true, detail: detail)
                case .unavailable(let reason, let remedy):
                    .init(name: backend.name.rawValue, available: false, reason: reason, remedy: remedy)
                }
            },
            programs: GuestImages.programs.map {
                .init(
                    name: $0.name, summary: $0.summary, operation: $0.operation,
                    options: $0.options + $0.commonOptions)
            })
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            print(String(decoding: try encoder.encode(listing), as: UTF8.self))
            return
        }
        print("BACKENDS")
        for backend in listing.backends {
            let text = backend.available ? backend.detail ?? "" : "not available: \(backend.reason ?? "")"
            Terminal.printEntry(backend.name, text)
            if let remedy = backend.remedy { Terminal.printEntry("", "remedy: \(remedy)") }
        }
        print("\nPROGRAMS (arguments: `vbench exec --backend native -- NAME --help`)")
        for program in listing.programs { Terminal.printEntry(program.name, program.summary) }
    }
}
