import Testing

@testable import Machine

@Suite struct ExitSitesTests {
    @Test func exitsOfOneInstructionAreOneSite() {
        let sites = ExitSites()
        for cycles: UInt64 in [5, 7] { sites.record(.portIO, phase: .timed(2), rip: 0x1000, ring: 0, cycles: cycles) }
        sites.record(.portIO, phase: .boot, rip: 0x1000, ring: 0, cycles: 1)
        sites.record(.cpuid, phase: .timed(2), rip: 0x1000, ring: 3, cycles: 2)
        #expect(
            sites.summaries == [
                ExitSite(phase: .timed(2), reason: .portIO, rip: 0x1000, ring: 0, count: 2, cycles: 12),
                ExitSite(phase: .timed(2), reason: .cpuid, rip: 0x1000, ring: 3, count: 1, cycles: 2),
                ExitSite(phase: .boot, reason: .portIO, rip: 0x1000, ring: 0, count: 1, cycles: 1),
            ])
        #expect(sites.dropped == 0)
    }

    /// Whatever a guest does, the table stays as large as it is, and says what is missing.
    @Test func whatFindsNoPlaceIsCounted() {
        let sites = ExitSites()
        let exits: UInt64 = 100_000
        for number in 0..<exits { sites.record(.mmio, phase: .program, rip: number &* 4096, ring: 3, cycles: 1) }
        let kept = sites.summaries.reduce(0) { $0 + $1.count }
        #expect(sites.dropped > 0 && kept + sites.dropped == exits)
        #expect(kept > 10_000)
    }
}
