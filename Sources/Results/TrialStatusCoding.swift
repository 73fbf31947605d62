// Written as {"outcome": "exited", "code": 0}, {"outcome": "signaled", "signal": 11} or
// {"outcome": "failed", "failure": {…}}: the compiler's own form of an enum is not one to put into a published schema.

extension TrialStatus: Codable {
    private enum CodingKeys: CodingKey { case outcome, code, signal, failure }

    private enum Outcome: String, Codable { case exited, signaled, failed }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        switch try container.decode(Outcome.self, forKey: .outcome) {
        case .exited: self = .exited(code: try container.decode(Int32.self, forKey: .code))
        case .signaled: self = .signaled(signal: try container.decode(Int32.self, forKey: .signal))
        case .failed: self = .failed(try container.decode(TrialFailure.self, forKey: .failure))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        switch self {
        case .exited(let code):
            try container.encode(Outcome.exited, forKey: .outcome)
            try container.encode(code, forKey: .code)
        case .signaled(let signal):
            try container.encode(Outcome.signaled, forKey: .outcome)
            try container.encode(signal, forKey: .signal)
        case .failed(let failure):
            try container.encode(Outcome.failed, forKey: .outcome)
            try container.encode(failure, forKey: .failure)
        }
    }
}
