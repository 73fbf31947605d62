import Backends
import Results
import Testing

/// A program that does n operations has n exits for them, and a constant that docs/reports.md states: on every backend that counts exits.
@Suite("Exit ledgers of programs", .serialized)
struct LedgerTests {
    private static let rounds = 3

    private func run(
        _ backend: BackendName, _ program: String, operations: Int, options: [String: String] = [:],
        profile: Bool = false
    ) throws -> TrialResult {
        var specification = try TrialRunner.specification(
            of: program, ["--rounds", "\(Self.rounds)", "--operations", "\(operations)"])
        specification.options = options
        specification.profilesExits = profile
        let result = try TrialRunner.run(backend, specification)
        #expect(result.status == .exited(code: 0))
        return result
    }

    /// Exits and operations of translated code for a reason in a phase.
    private func count(_ result: TrialResult, _ phase: String, _ reason: String) -> UInt64 {
        (result.exits ?? []).reduce(0) { $1.phase == phase && $1.reason == reason ? $0 + $1.count : $0 }
    }

    @Test("n system calls and the one that ends the round", arguments: ["direct", "translate", "adaptive"])
    func systemCalls(mode: String) throws {
        for operations in [100, 200] {
            let result = try run(.software, "null-syscall", operations: operations, options: ["userMode": mode])
            #expect(count(result, "main", "system-call") == UInt64(Self.rounds * (operations + 1)), "\(operations)")
            // Returns to ring 3: of each of them but the last, of the call that began the round, and of interrupts.
            let returns = count(result, "main", "interrupt-return")
            let ticks = UInt64(result.counters["guest.timerTicks"] ?? 0)
            let calls = UInt64(Self.rounds * (operations + 1))
            #expect((calls...(calls + ticks)).contains(returns), "\(operations): \(returns), \(ticks) ticks")
        }
    }

    @Test("n page faults", arguments: ["direct", "translate"])
    func pageFaults(mode: String) throws {
        for operations in [64, 128] {
            let result = try run(.software, "page-touch", operations: operations, options: ["userMode": mode])
            #expect(count(result, "main", "guest-page-fault") == UInt64(Self.rounds * operations), "\(operations)")
        }
    }

    @Test("n port reads more are n exits more", arguments: TrialRunner.guests)
    func portReads(backend: BackendName) throws {
        let counts = try [32, 64].map { count(try run(backend, "nanobench", operations: $0), "in", "port-io") }
        #expect(counts[1] - counts[0] == UInt64(Self.rounds * 32), "\(counts)")
        // The loop that is taken off reads no port.
        #expect(counts[0] == UInt64(Self.rounds * 32))
    }

    @Test("phases cover the machine's life, rounds their own time", arguments: TrialRunner.guests)
    func phases(backend: BackendName) throws {
        let result = try run(backend, "compute", operations: 20_000)
        let phases = try #require(result.phases)
        #expect(phases.map(\.name) == ["boot", "program", "shutdown", "main"])
        #expect(phases.map(\.timed) == [false, false, false, true])
        // The program's stretches before, between and after the rounds.
        #expect(phases.map(\.entries) == [1, UInt64(Self.rounds + 1), 1, UInt64(Self.rounds)])
        for phase in phases {
            let inside = (result.exits ?? []).reduce(0) { $1.phase == phase.name ? $0 + $1.timedCycles : $0 }
            #expect(phase.guestCycles + inside <= phase.cycles, "\(phase)")
        }
        // The rounds' own figures, taken inside of the marks.
        let main = phases[3]
        let timed = result.samples.reduce(0) { $0 + $1.nanoseconds }
        let whole = phases.reduce(0) { $0 + Double($1.cycles) }
        let run = try #require(result.bootNanoseconds) + (try #require(result.programNanoseconds))
        #expect(Double(main.cycles) / whole >= timed / run * 0.8)
        #expect(Double(main.cycles) / whole <= 1)
        #expect(Set((result.exits ?? []).compactMap(\.phase)).isSubset(of: phases.map(\.name)))
    }

    @Test("a profile names the functions that exits come from", arguments: TrialRunner.guests)
    func profile(backend: BackendName) throws {
        let options = backend == .software ? ["userMode": "direct"] : [:]
        let result = try run(backend, "null-syscall", operations: 20, options: options, profile: true)
        let sites = try #require(result.exitSites)
        #expect(result.exitSitesDropped == 0)
        let ports = sites.filter { $0.reason == "port-io" }
        #expect(
            ports.contains { $0.ring == 0 && $0.function == "systemCallRoundMark" }, "\(ports.map(\.function))")
        if backend == .software {
            let calls = sites.filter { $0.reason == "system-call" && $0.phase == "main" }
            #expect(
                calls.contains { $0.ring == 3 && $0.function == "null_syscall.run" }, "\(calls.map(\.function))")
        }
        // Every exit that was not carried out by a trampoline, nor part of another, has a site.
        let exits = (result.exits ?? []).filter {
            switch $0.handler {
            case .vmm: !["trampoline", "translator", "start"].contains($0.rawReason)
            // An exit that goes on to the VMM has two. What KVM injects has no address of the guest.
            case .kvm: $0.rawReason?.hasPrefix("inject") != true
            case .inline: false
            }
        }
        let count = sites.reduce(0) { $0 + $1.count }
        let expected = exits.reduce(0) { $0 + $1.count }
        #expect(count >= expected - 1 && count <= expected + 1)
        #expect(try run(backend, "null-syscall", operations: 20).exitSites == nil)
    }

    @Test("the ledger can be switched off", arguments: TrialRunner.guests)
    func off(backend: BackendName) throws {
        let result = try run(backend, "null-syscall", operations: 20, options: ["ledger": "off"])
        #expect(result.exits == nil && result.phases == nil)
        #expect(result.exitsUnavailable == "the ledger was switched off (option ledger=off)")
        #expect(result.samples.count == Self.rounds)
        #expect(
            BackendRegistry.backend(backend)?.problem(with: ["ledger": "maybe"])
                == "option ledger=maybe: must be on or off")
    }

    @Test("the way to the VMM and back is calibrated")
    func transitions() throws {
        let result = try run(.software, "null-syscall", operations: 20, options: ["userMode": "direct"])
        let calls = try #require(result.exits?.first { $0.rawReason == "SIGSYS" })
        let callouts = try #require(result.exits?.first { $0.rawReason == "callout" })
        // A signal is delivered for one and not for the other.
        #expect(try #require(calls.transitionCycles) > (try #require(callouts.transitionCycles)))
        #expect(result.exits?.first { $0.reason == "translation" }?.transitionCycles == nil)
    }
}
