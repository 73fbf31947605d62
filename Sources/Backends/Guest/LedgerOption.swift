import Machine

/// The option `ledger` of VMMs with a ledger: `on`, or `off` to find out what keeping it costs.
enum LedgerOption {
    static let name = "ledger"

    /// - Throws: `invalidConfiguration` for another value.
    static func isOn(_ options: [String: String]) throws(MachineError) -> Bool {
        switch options[name] ?? "on" {
        case "on": return true
        case "off": return false
        case let value: throw .invalidConfiguration("option \(name)=\(value): must be on or off")
        }
    }
}
