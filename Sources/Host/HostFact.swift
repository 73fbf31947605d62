/// One thing that is known, or cannot be known, about the host.
public struct HostFact: Codable, Sendable, Equatable {
    public enum Value: Codable, Sendable, Equatable {
        case text(String)
        case integer(Int64)
        case flag(Bool)
        /// With the reason.
        case unavailable(String)
    }

    /// Never changes meaning between versions.
    public var name: String
    public var value: Value

    init(_ name: String, text: String) {
        self.name = name
        value = .text(text)
    }

    init(_ name: String, integer: Int64) {
        self.name = name
        value = .integer(integer)
    }

    init(_ name: String, flag: Bool) {
        self.name = name
        value = .flag(flag)
    }

    init(_ name: String, _ text: String?, elseBecause reason: String) {
        self.name = name
        value = text.map { .text($0) } ?? .unavailable(reason)
    }

    init(_ name: String, _ integer: Int64?, elseBecause reason: String) {
        self.name = name
        value = integer.map { .integer($0) } ?? .unavailable(reason)
    }

    init(_ name: String, _ flag: Bool?, elseBecause reason: String) {
        self.name = name
        value = flag.map { .flag($0) } ?? .unavailable(reason)
    }
}
