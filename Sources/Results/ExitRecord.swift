/// How long exits took, in TSC cycles.
public struct ExitTimes: Sendable, Equatable {
    public var totalCycles: UInt64
    public var minimumCycles: UInt64
    public var maximumCycles: UInt64
    public var medianCycles: UInt64
    public var p99Cycles: UInt64

    public init(
        totalCycles: UInt64, minimumCycles: UInt64, maximumCycles: UInt64, medianCycles: UInt64, p99Cycles: UInt64
    ) {
        self.totalCycles = totalCycles
        self.minimumCycles = minimumCycles
        self.maximumCycles = maximumCycles
        self.medianCycles = medianCycles
        self.p99Cycles = p99Cycles
    }
}

/// One line of an exit ledger: exits of one reason in one phase, handled in one place.
public struct ExitRecord: Sendable, Equatable {
    /// Who dealt with it.
    public enum Handler: String, Codable, Sendable, CaseIterable {
        /// The VMM, in user space.
        case vmm
        /// KVM, in the host's kernel.
        case kvm
        /// Translated code itself, through the VMM's trampolines: no exit, but the operation that would be one.
        case inline
    }

    /// `boot`, `program`, `shutdown` or a timed phase's name; null in reports of version 1, whose lines are of the whole run.
    public var phase: String?
    public var reason: String
    /// The technique's own name of the reason; null in reports of version 1.
    public var rawReason: String?
    public var handler: Handler
    public var count: UInt64
    /// Null where exits were counted but not timed.
    public var times: ExitTimes?
    /// Why there are no times.
    public var timesUnavailable: String?
    /// What the way from guest to VMM and back takes beside `times`, of one exit, in cycles, calibrated when the machine started; null
    /// where it was not.
    public var transitionCycles: UInt64?

    public init(
        phase: String? = nil, reason: String, rawReason: String? = nil, handler: Handler = .vmm, count: UInt64,
        times: ExitTimes?, timesUnavailable: String? = nil, transitionCycles: UInt64? = nil
    ) {
        self.phase = phase
        self.reason = reason
        self.rawReason = rawReason
        self.handler = handler
        self.count = count
        self.times = times
        self.timesUnavailable = timesUnavailable
        self.transitionCycles = transitionCycles
    }

    /// Cycles of all exits together; 0 where they were not timed, which `times` tells.
    public var timedCycles: UInt64 { times?.totalCycles ?? 0 }
}

/// Flat, as reports of version 1 had it.
extension ExitRecord: Codable {
    private enum CodingKeys: String, CodingKey {
        case phase, reason, rawReason, handler, count, totalCycles, minimumCycles, maximumCycles, medianCycles
        case p99Cycles, timesUnavailable, transitionCycles
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        phase = try values.decodeIfPresent(String.self, forKey: .phase)
        reason = try values.decode(String.self, forKey: .reason)
        rawReason = try values.decodeIfPresent(String.self, forKey: .rawReason)
        handler = try values.decodeIfPresent(Handler.self, forKey: .handler) ?? .vmm
        count = try values.decode(UInt64.self, forKey: .count)
        timesUnavailable = try values.decodeIfPresent(String.self, forKey: .timesUnavailable)
        transitionCycles = try values.decodeIfPresent(UInt64.self, forKey: .transitionCycles)
        guard let total = try values.decodeIfPresent(UInt64.self, forKey: .totalCycles) else { return }
        times = ExitTimes(
            totalCycles: total, minimumCycles: try values.decode(UInt64.self, forKey: .minimumCycles),
            maximumCycles: try values.decode(UInt64.self, forKey: .maximumCycles),
            medianCycles: try values.decode(UInt64.self, forKey: .medianCycles),
            p99Cycles: try values.decode(UInt64.self, forKey: .p99Cycles))
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encodeIfPresent(phase, forKey: .phase)
        try values.encode(reason, forKey: .reason)
        try values.encodeIfPresent(rawReason, forKey: .rawReason)
        try values.encode(handler, forKey: .handler)
        try values.encode(count, forKey: .count)
        try values.encodeIfPresent(times?.totalCycles, forKey: .totalCycles)
        try values.encodeIfPresent(times?.minimumCycles, forKey: .minimumCycles)
        try values.encodeIfPresent(times?.maximumCycles, forKey: .maximumCycles)
        try values.encodeIfPresent(times?.medianCycles, forKey: .medianCycles)
        try values.encodeIfPresent(times?.p99Cycles, forKey: .p99Cycles)
        try values.encodeIfPresent(timesUnavailable, forKey: .timesUnavailable)
        try values.encodeIfPresent(transitionCycles, forKey: .transitionCycles)
    }
}

/// Time that a machine spent in one phase of its ledger. In TSC cycles.
public struct PhaseRecord: Codable, Sendable, Equatable {
    /// As in `ExitRecord.phase`.
    public var name: String
    /// Whether it is made of the program's timed rounds.
    public var timed: Bool
    /// Times that it was entered: rounds, where it is timed.
    public var entries: UInt64
    public var cycles: UInt64
    /// The part outside of the VMM: guest code, and what the CPU and the host's kernel do between guest and VMM. Under KVM the time
    /// in KVM_RUN.
    public var guestCycles: UInt64

    public init(name: String, timed: Bool, entries: UInt64, cycles: UInt64, guestCycles: UInt64) {
        self.name = name
        self.timed = timed
        self.entries = entries
        self.cycles = cycles
        self.guestCycles = guestCycles
    }
}

/// Exits of one reason that a function of the guest made in one phase.
public struct ExitSiteRecord: Codable, Sendable, Equatable {
    /// As in `ExitRecord.phase`.
    public var phase: String
    /// Its name; `kernel+0x12` or `program+0x12` where the file has no symbol there.
    public var function: String
    /// Ring that it ran in: 0 or 3.
    public var ring: Int
    public var reason: String
    public var count: UInt64
    /// TSC cycles of all of them.
    public var cycles: UInt64

    public init(phase: String, function: String, ring: Int, reason: String, count: UInt64, cycles: UInt64) {
        self.phase = phase
        self.function = function
        self.ring = ring
        self.reason = reason
        self.count = count
        self.cycles = cycles
    }
}
