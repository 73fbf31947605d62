// A figure is {"value": 1.03, "lower": …, "upper": …, "confidence": 0.95, "method": …}, or {"value": null, "reason":
// "…"}: what was not measured is null with a reason, never 0 and never left out.

extension Figure: Codable {
    private enum CodingKeys: CodingKey { case value, reason }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        if let value = try container.decodeIfPresent(Double.self, forKey: .value) {
            // The interval's members lie beside the value.
            self = .measured(Estimate(value: value, interval: try? Estimate.Interval(from: decoder)))
        } else {
            self = .unavailable(reason: try container.decode(String.self, forKey: .reason))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        switch self {
        case .measured(let estimate):
            try container.encode(estimate.value, forKey: .value)
            try estimate.interval?.encode(to: encoder)
        case .unavailable(let reason):
            try container.encodeNil(forKey: .value)
            try container.encode(reason, forKey: .reason)
        }
    }
}
