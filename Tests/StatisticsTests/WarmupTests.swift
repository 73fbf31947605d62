import Testing

@testable import Statistics

struct WarmupTests {
    /// 100 with a little noise.
    private func steady(_ count: Int, seed: UInt64 = 1, level: Double = 100) -> [Double] {
        var generator = Xoshiro256(seed: seed)
        return (0..<count).map { _ in level + Double.random(in: -1...1, using: &generator) }
    }

    @Test(arguments: [10, 20, 40])
    func findsASlowStart(count: Int) throws {
        #expect(try Warmup.detect([300, 180, 120] + steady(count)) == .settled(after: 3))
        #expect(try Warmup.detect([300] + steady(count)) == .settled(after: 1))
    }

    @Test func findsAFastStart() throws {
        // Before the CPU's boost ends, say.
        #expect(try Warmup.detect([70, 70, 72] + steady(20)) == .settled(after: 3))
    }

    @Test func longTrialsGoByBatchesOfFive() throws {
        let slow = (0..<12).map { 300 - 10 * Double($0) }
        guard case .settled(let cut) = try Warmup.detect(slow + steady(188)) else {
            Issue.record("did not settle")
            return
        }
        #expect((15...40).contains(cut), "\(cut)")
    }

    /// Of a hundred steady trials few may lose rounds.
    @Test(arguments: [10, 20, 60])
    func leavesSteadyTrialsAlone(count: Int) throws {
        var cut = 0
        for seed in 0..<100 {
            switch try Warmup.detect(steady(count, seed: UInt64(seed))) {
            case .settled(let after): cut += after
            case .unsettled: cut += count / 2
            }
        }
        #expect(Double(cut) / Double(100 * count) < 0.05, "\(cut)")
    }

    @Test func aSpikeIsAnOutlierNotAWarmUp() throws {
        var rounds = steady(20)
        rounds[4] = 500
        #expect(try Warmup.detect(rounds) == .settled(after: 0))
        rounds[0] = 500
        #expect(try Warmup.detect(rounds) == .settled(after: 1))
    }

    @Test func aTrialThatIsStillDescendingIsUnsettled() throws {
        #expect(try Warmup.detect((0..<20).map { 300 - 10 * Double($0) }) == .unsettled)
    }

    @Test func tooFewRoundsAreAllKept() throws {
        #expect(try Warmup.detect([]) == .settled(after: 0))
        #expect(try Warmup.detect([300] + steady(8)) == .settled(after: 0))
    }

    @Test func constantTimesHaveNoWarmUp() throws {
        #expect(try Warmup.detect([Double](repeating: 5, count: 30)) == .settled(after: 0))
    }

    @Test func refusesNaN() {
        #expect(throws: StatisticsError.notFinite(index: 1)) { try Warmup.detect([1, .nan]) }
    }
}
