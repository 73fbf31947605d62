import Testing

@testable import Lab

@Suite("Plan")
struct PlanTests {
    private let suite: BenchmarkSuite = {
        var quick = SuiteWorkload(name: "quick", program: .builtIn("compute"))
        quick.trials = 4
        var slow = SuiteWorkload(name: "slow", program: .builtIn("matmul"))
        slow.trials = 2
        slow.backends = ["native", "software"]
        slow.variants = [
            SuiteVariant(name: "small", backends: ["software"], options: ["codeCacheBytes": "65536"]),
            SuiteVariant(name: "large", backends: ["software"]),
        ]
        var pair = SuiteColocation(name: "pair", victim: "quick", aggressor: "slow")
        pair.backends = ["native"]
        pair.trials = 3
        return BenchmarkSuite(name: "test", workloads: [quick, slow], colocation: [pair])
    }()

    private func plan(seed: UInt64 = 7, trials: Int? = nil, without: String? = nil, oneCPU: Bool = false) -> Plan {
        Plan(
            suite, seed: seed, trials: trials, availability: { $0 == without ? "not here" : nil },
            placementObstacle: { oneCPU && $0 == .differentCPU ? "one CPU" : nil })
    }

    @Test("Cells are workload × backend × variant, in suite order")
    func cells() {
        #expect(
            plan().cells.map(\.title) == [
                "quick on native", "quick on kvm", "quick on software", "slow on native", "slow on software (small)",
                "slow on software (large)",
            ])
    }

    @Test("The victim alone comes with every co-location")
    func neighbourhoods() {
        #expect(plan().neighbourhoods.map(\.placement) == [.alone, .sameCPU, .differentCPU])
    }

    @Test("Every subject gets exactly its trials, numbered from 0")
    func counts() {
        let plan = plan()
        let bySubject = Dictionary(grouping: plan.steps, by: \.subject).mapValues { $0.map(\.trial) }
        #expect(bySubject[.cell(0)] == [0, 1, 2, 3])
        #expect(bySubject[.cell(4)] == [0, 1])
        #expect(bySubject[.neighbourhood(2)] == [0, 1, 2])
        #expect(plan.steps.count == 3 * 4 + 3 * 2 + 3 * 3)
    }

    @Test("A round is over before the next begins, so that trials of one number are near in time")
    func rounds() {
        let trials = plan().steps.map(\.trial)
        #expect(trials == trials.sorted())
    }

    @Test("Profile trials come last, one for each cell on a VMM that is not skipped")
    func profiles() {
        let plan = Plan(
            suite, seed: 7, profile: true, availability: { $0 == "kvm" ? "not here" : nil },
            placementObstacle: { _ in nil })
        let subjects = plan.steps.suffix(3).map(\.subject)
        #expect(subjects == [.profile(2), .profile(4), .profile(5)])
        #expect(plan.steps.count == 2 * 4 + 3 * 2 + 3 * 3 + 3)
    }

    @Test("The seed decides the order")
    func seed() {
        #expect(plan(seed: 1).steps == plan(seed: 1).steps)
        #expect(plan(seed: 1).steps != plan(seed: 2).steps)
    }

    @Test("Order within a round is shuffled: over many rounds each cell comes first about equally often")
    func balance() {
        let many = plan(trials: 900)
        let firsts = stride(from: 0, to: many.steps.count, by: 9).map { many.steps[$0].subject }
        let counts = Dictionary(grouping: firsts, by: { $0 }).mapValues(\.count)
        #expect(counts.count == 9)
        // 900 draws of 1/9: mean 100, standard deviation 9.4.
        #expect(counts.values.allSatisfy { (55...145).contains($0) })
    }

    @Test("An unavailable backend's cells stay in the plan with the reason, without trials")
    func unavailable() {
        let plan = plan(without: "software")
        #expect(plan.cells.filter { $0.skipped != nil }.map(\.backend) == ["software", "software", "software"])
        #expect(plan.cells[2].skipped == "not here")
        #expect(!plan.steps.contains { $0.subject == .cell(2) })
    }

    @Test("A placement that needs a second CPU is skipped on a host with one")
    func oneCPU() {
        let plan = plan(oneCPU: true)
        #expect(plan.neighbourhoods[2].skipped == "one CPU")
        #expect(!plan.steps.contains { $0.subject == .neighbourhood(2) })
    }
}
