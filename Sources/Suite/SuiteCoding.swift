// The coded form of a suite is a suite file with everything written out, so that the resolved copy in a report can be
// run again, and validates against the same schema.

extension Workload {
    enum CodingKeys: String, CodingKey {
        case name, description, program, arguments, environment, workingDirectory, files
        case standardInput = "stdin"
        case expected, trials
        case memoryBytes = "memory"
        case timeLimitSeconds = "timeLimit"
        case cpu, backends, variants
    }
}

extension WarmupPolicy: Codable {
    private enum CodingKeys: CodingKey { case discard }

    public init(from decoder: any Decoder) throws {
        if let name = try? decoder.singleValueContainer().decode(String.self) {
            switch name {
            case "detect": self = .detect
            case "none": self = .none
            default: throw unknownName(name, in: decoder)
            }
        } else {
            self = .discard(rounds: try decoder.container(keyedBy: CodingKeys.self).decode(Int.self, forKey: .discard))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .detect: try encodeSingle("detect", to: encoder)
        case .none: try encodeSingle("none", to: encoder)
        case .discard(let rounds):
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(rounds, forKey: .discard)
        }
    }
}

extension CPUPolicy: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let number = try? container.decode(Int.self) {
            self = .pinned(number)
            return
        }
        switch try container.decode(String.self) {
        case "auto": self = .auto
        case "float": self = .float
        case let other: throw unknownName(other, in: decoder)
        }
    }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .auto: try encodeSingle("auto", to: encoder)
        case .float: try encodeSingle("float", to: encoder)
        case .pinned(let number): try encodeSingle(number, to: encoder)
        }
    }
}

extension Program: Codable {
    private enum CodingKeys: CodingKey { case host }

    public init(from decoder: any Decoder) throws {
        if let name = try? decoder.singleValueContainer().decode(String.self) {
            self = .builtIn(name)
        } else {
            self = .host(path: try decoder.container(keyedBy: CodingKeys.self).decode(String.self, forKey: .host))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .builtIn(let name): try encodeSingle(name, to: encoder)
        case .host(let path):
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(path, forKey: .host)
        }
    }
}

extension FileContent: Codable {
    private enum CodingKeys: CodingKey { case host, text, generate }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        if let path = try container.decodeIfPresent(String.self, forKey: .host) {
            self = .host(path: path)
        } else if let text = try container.decodeIfPresent(String.self, forKey: .text) {
            self = .text(text)
        } else {
            self = .generated(try container.decode(GeneratedFile.self, forKey: .generate))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        switch self {
        case .host(let path): try container.encode(path, forKey: .host)
        case .text(let text): try container.encode(text, forKey: .text)
        case .generated(let file): try container.encode(file, forKey: .generate)
        }
    }
}

extension InputFile {
    private enum CodingKeys: CodingKey { case guestPath, executable }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            content: try FileContent(from: decoder), guestPath: try container.decode(String.self, forKey: .guestPath),
            executable: try container.decode(Bool.self, forKey: .executable))
    }

    /// The content's key and these two are members of one object.
    public func encode(to encoder: any Encoder) throws {
        try content.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(guestPath, forKey: .guestPath)
        try container.encode(executable, forKey: .executable)
    }
}

private func encodeSingle(_ value: some Encodable, to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(value)
}

private func unknownName(_ name: String, in decoder: any Decoder) -> DecodingError {
    DecodingError.dataCorrupted(
        DecodingError.Context(codingPath: decoder.codingPath, debugDescription: "unknown name \"\(name)\""))
}
