/// Counts exits by where in the guest they come from: the guest RIP, its ring, the reason and the phase.
///
/// For profile trials. A table of fixed size, found by hash: what finds no place near its own is counted as dropped. `record` runs
/// between guest exit and guest entry, and neither allocates nor retains.
///
/// Owned by one thread.
public final class ExitSites {
    private struct Site {
        var rip: UInt64 = 0
        /// Phase, reason and ring, and 1 in the highest bit; 0: free.
        var key: UInt64 = 0
        var count: UInt64 = 0
        var cycles: UInt64 = 0
    }

    private static let capacityBits: UInt64 = 14
    private static let capacity = 1 << 14
    private static let probes = 16

    // Invariant: allocated for `capacity` sites from init to deinit.
    private let table: UnsafeMutablePointer<Site>

    /// Exits that found no place in the table.
    public private(set) var dropped: UInt64 = 0

    public init() {
        table = .allocate(capacity: Self.capacity)
        table.initialize(repeating: Site(), count: Self.capacity)
    }

    deinit { table.deallocate() }

    /// Counts one exit of `cycles`.
    public func record(_ reason: ExitReason, phase: LedgerPhase, rip: UInt64, ring: UInt8, cycles: UInt64) {
        let key = 1 << 63 | UInt64(phase.index) << 16 | UInt64(reason.rawValue) << 8 | UInt64(ring)
        // Fibonacci hashing: the golden ratio of 64 bits spreads neighbouring addresses.
        let hash = (rip ^ key &<< 7) &* 0x9E37_79B9_7F4A_7C15
        let start = Int(truncatingIfNeeded: hash >> (64 - Self.capacityBits))
        for distance in 0..<Self.probes {
            let site = table + ((start + distance) & (Self.capacity - 1))
            if site.pointee.key == 0 { (site.pointee.rip, site.pointee.key) = (rip, key) }
            guard site.pointee.key == key, site.pointee.rip == rip else { continue }
            site.pointee.count &+= 1
            site.pointee.cycles &+= cycles
            return
        }
        dropped &+= 1
    }

    /// What was recorded, most cycles first.
    public var summaries: [ExitSite] {
        UnsafeBufferPointer(start: table, count: Self.capacity).filter { $0.key != 0 }
            .map {
                ExitSite(
                    phase: LedgerPhase(index: Int($0.key >> 16 & 0xFFFF)),
                    reason: ExitReason.allCases[Int($0.key >> 8 & 0xFF)], rip: $0.rip, ring: UInt8($0.key & 0xFF),
                    count: $0.count, cycles: $0.cycles)
            }
            .sorted { ($0.cycles, $0.count, $0.rip) > ($1.cycles, $1.count, $1.rip) }
    }
}

/// An instruction of the guest, and the exits it made.
public struct ExitSite: Sendable, Equatable {
    public var phase: LedgerPhase
    public var reason: ExitReason
    public var rip: UInt64
    public var ring: UInt8
    public var count: UInt64
    public var cycles: UInt64

    public init(phase: LedgerPhase, reason: ExitReason, rip: UInt64, ring: UInt8, count: UInt64, cycles: UInt64) {
        self.phase = phase
        self.reason = reason
        self.rip = rip
        self.ring = ring
        self.count = count
        self.cycles = cycles
    }
}
