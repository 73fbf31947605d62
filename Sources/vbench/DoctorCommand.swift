import ArgumentParser
import Backends
import FoundationEssentials
import Host
import Lab

struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Show what this host offers, what is missing, and the remedy.",
        discussion: """
            Changes nothing. What is missing narrows what can be measured; vbench runs without it and says so in its \
            reports.

            Examples:
              vbench doctor
              vbench doctor --json
            """)

    @Flag(help: "Print JSON.")
    var json = false

    private struct Findings: Encodable {
        struct BackendEntry: Encodable {
            var name: String
            var available: Bool
            var detail: String
            var remedy: String?
        }
        var host: HostFacts
        var backends: [BackendEntry]
    }

    func run() throws {
        let findings = Findings(
            host: .probe(),
            backends: BackendRegistry.all.map {
                switch $0.availability() {
                case .available(let detail): .init(name: $0.name.rawValue, available: true, detail: detail)
                case .unavailable(let reason, let remedy):
                    .init(name: $0.name.rawValue, available: false, detail: reason, remedy: remedy)
                }
            })
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            print(String(decoding: try encoder.encode(findings), as: UTF8.self))
            return
        }
        print("HOST")
        for fact in findings.host.facts { Terminal.printEntry(fact.name, Self.text(fact.value), nameWidth: 28) }
        print("\nBACKENDS")
        for backend in findings.backends {
            entry(backend.name, backend.available, backend.detail, backend.remedy)
        }
        print("\nCAPABILITIES")
        for capability in findings.host.capabilities {
            entry(capability.name, capability.present, capability.detail, capability.remedy)
        }
        let missing = findings.host.capabilities.count { !$0.present }
        print("\n\(findings.host.capabilities.count - missing) present, \(missing) missing")
    }

    private func entry(_ name: String, _ present: Bool, _ detail: String, _ remedy: String?) {
        Terminal.printEntry((present ? "+ " : "- ") + name, detail, nameWidth: 28)
        if let remedy { Terminal.printEntry("", "→ " + remedy, nameWidth: 28) }
    }

    private static func text(_ value: HostFact.Value) -> String {
        switch value {
        case .text(let text): text
        case .integer(let number): "\(number)"
        case .flag(let flag): flag ? "yes" : "no"
        case .unavailable(let reason): "unknown: \(reason)"
        }
    }
}
