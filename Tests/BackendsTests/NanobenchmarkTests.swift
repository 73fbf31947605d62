import Backends
import Foundation
import GuestInterface
import Results
import Testing

/// Single operations in ring 0: each is done everywhere it can be, and makes the exits that it should.
@Suite("Nanobenchmarks", .serialized)
struct NanobenchmarkTests {
    /// Every phase, by the guest interface's own numbering.
    private static let phases: Set<String> = Set(
        (0..<Nanobenchmark.timeStamp.rawValue).compactMap { Nanobenchmark(rawValue: $0).map { "\($0.name)" } })

    private func run(_ backend: BackendName, _ arguments: [String], _ options: [String: String] = [:]) throws
        -> TrialResult
    {
        var specification = try TrialRunner.specification(of: "nanobench", arguments)
        specification.options = options
        return try TrialRunner.run(backend, specification)
    }

    // MARK: What is done

    /// Operations that ring 3 can do.
    private static let native: Set<String> = [
        "callret", "syscall", "pgfault", "divzero", "cpuid", "rdtsc", "rdtscp", "cold-page", "context-switch", "loop",
    ]
    /// Operations that may be missing in a guest: not every VMM has the instruction or the device.
    private static let optional: [BackendName: Set<String>] = [
        .kvm: ["rdtscp", "hypercall"],
        .qemuTCG: ["hypercall", "mmio-read", "mmio-write", "timer-delivery", "halt-wakeup"],
    ]

    @Test("each is measured, or says why not", arguments: TrialRunner.backends + [.qemuTCG])
    func everyPhase(backend: BackendName) throws {
        let result = try run(backend, ["--rounds", "2", "--operations", "16"])
        #expect(result.status == .exited(code: 0))
        let measured = Set(result.samples.map(\.phase))
        let prefix = "program."
        let missing = Set(
            result.countersUnavailable.keys.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) })
        #expect(measured.isDisjoint(with: missing))
        #expect(measured.union(missing) == Self.phases)
        if backend == .native {
            #expect(measured == Self.native)
        } else {
            #expect(missing.isSubset(of: Self.optional[backend] ?? []))
        }
        #expect(result.samples.count == 2 * measured.count)
        #expect(result.samples.allSatisfy { $0.operations == 16 && $0.nanoseconds > 0 })
        #expect(result.counters["program.ring"] == (backend == .native ? 3 : 0))
        #expect(try #require(result.counters["program.tsc-read-cycles"]) > 0)
        #expect(try #require(result.counters["program.tsc-granularity-cycles"]) > 0)
    }

    @Test("without a number of operations, a batch is chosen that takes its time", arguments: TrialRunner.backends)
    func calibration(backend: BackendName) throws {
        let result = try run(backend, ["--rounds", "2", "--only", "callret,cpuid"])
        #expect(result.status == .exited(code: 0))
        #expect(result.samples.map(\.phase) == ["callret", "callret", "cpuid", "cpuid"])
        #expect(result.samples.allSatisfy { $0.operations >= 16 && $0.operations % 16 == 0 })
    }

    @Test("more fresh pages than there are make cold-page unavailable", arguments: TrialRunner.guests)
    func shortMemory(guest: BackendName) throws {
        let result = try run(guest, ["--rounds", "1", "--operations", "16K", "--only", "cold-page"])
        #expect(result.status == .exited(code: 0))
        #expect(result.samples.isEmpty)
        #expect(result.countersUnavailable["program.cold-page"] != nil)
    }

    // MARK: Exits

    /// Benchmarks that are run together, and the exits of one operation of each, summed up by reason. Together are those whose
    /// reasons differ.
    struct Group: Sendable, CustomTestStringConvertible {
        var names: String
        var software: [String: Int]
        var kvm: [String: Int]
        var testDescription: String { names }
    }

    private static let groups = [
        Group(
            names: "in,cpuid,mmio-read,msr-read,msr-write,cr3-write,invlpg,hypercall,divzero,cold-page",
            software: [
                "port-io": 1, "cpuid": 1, "mmio": 1, "msr-read": 1, "msr-write": 1, "control-register": 1,
                "tlb-invalidate": 1, "hypercall": 1, "exception": 1, "interrupt-return": 1, "shadow-fill": 1,
            ],
            kvm: ["port-io": 1, "mmio": 1]),
        Group(
            names: "out,mmio-write,msr-read-emulated,msr-write-emulated,cr3-write-working-set,pgfault",
            software: [
                "port-io": 1, "mmio": 1, "msr-read": 1, "msr-write": 1, "control-register": 1, "guest-page-fault": 1,
                "interrupt-return": 1,
            ],
            kvm: ["port-io": 1, "mmio": 1]),
        Group(
            names: "world-switch,self-ipi,context-switch",
            software: ["port-io": 1, "msr-write": 2, "interrupt-return": 1, "control-register": 1],
            kvm: ["port-io": 1]),
        Group(names: "cr8wr,timer-arm", software: ["control-register": 1, "msr-write": 1], kvm: [:]),
        // Written twice: the timer's count and the end of the interrupt. STI lets it in.
        Group(
            names: "timer-delivery", software: ["msr-write": 2, "interrupt-return": 1, "emulated-instruction": 1],
            kvm: [:]),
        Group(
            names: "halt-wakeup",
            software: ["msr-write": 2, "interrupt-return": 1, "emulated-instruction": 1, "halt": 1], kvm: [:]),
        Group(names: "callret,ptemod,rdtsc,rdtscp,loop", software: [:], kvm: [:]),
    ]

    /// Reasons of exits that instructions make, and nothing else does.
    private static let exactReasons = [
        "mmio", "hypercall", "cpuid", "msr-read", "control-register", "tlb-invalidate", "exception",
        "guest-page-fault", "system-call", "halt",
    ]
    /// Reasons that a timer tick has too: each one three times at most.
    private static let tickReasons = ["msr-write", "emulated-instruction"]

    /// What the VMM, or its translated code, did; KVM's own share is not of the same kind everywhere. Reads of ports need not leave
    /// translated code.
    private func count(_ reason: String, _ result: TrialResult) -> Int {
        (result.exits ?? []).filter {
            $0.reason == reason && ($0.handler == .vmm || reason == "port-io" && $0.handler == .inline)
        }.reduce(0) { $0 + Int($1.count) }
    }

    /// Exits of one reason that a second run had more than a first.
    private func increase(_ reason: String, _ first: TrialResult, _ second: TrialResult) -> Int {
        count(reason, second) - count(reason, first)
    }

    /// Runs with n and 2n operations a round, and compares each reason with what `expected` says of one operation.
    private func expectExits(
        _ names: String, _ expected: [String: Int], _ backend: BackendName, _ options: [String: String]
    )
        throws
    {
        let rounds = 2
        let operations = 96
        let results = try [operations, 2 * operations].map {
            try run(backend, ["--rounds", "\(rounds)", "--operations", "\($0)", "--only", names], options)
        }
        let (first, second) = (results[0], results[1])
        #expect(first.status == .exited(code: 0))
        #expect(second.status == .exited(code: 0))
        let more = rounds * operations
        for reason in Self.exactReasons {
            #expect(increase(reason, first, second) == more * expected[reason, default: 0], "\(reason)")
        }
        let rings = try Int(
            #require(second.counters["machine.doorbells"]) - #require(first.counters["machine.doorbells"]))
        #expect(increase("port-io", first, second) - rings == more * expected["port-io", default: 0], "port-io")
        if let fills = expected["shadow-fill"] {
            // What Nub notes of more frames takes a page or two more of its own.
            #expect((0...2).contains(increase("shadow-fill", first, second) - more * fills))
        }
        let ticks = try Int(
            #require(second.counters["guest.timerTicks"]) - #require(first.counters["guest.timerTicks"]))
        for reason in Self.tickReasons {
            let difference = increase(reason, first, second) - more * expected[reason, default: 0]
            #expect(abs(difference) <= 3 * abs(ticks), "\(reason): \(difference) more, with \(ticks) ticks more")
        }
        // A return to ring 3 is an exit or not by whether a kick comes along, and by whether its target has been translated.
        let kicks = count("external-interrupt", first) + count("external-interrupt", second)
        let difference = increase("interrupt-return", first, second) - more * expected["interrupt-return", default: 0]
        #expect(abs(difference) <= kicks + 2 * abs(ticks) + 2, "\(difference) returns more, with \(kicks) kicks")
    }

    @Test("n operations make n exits under the software VMM", arguments: groups, ["direct", "translate"])
    func softwareExits(group: Group, mode: String) throws {
        try expectExits(group.names, group.software, .software, ["userMode": mode])
    }

    @Test("n operations make n exits to the KVM VMM, where they come to it", arguments: groups)
    func kvmExits(group: Group) throws {
        try expectExits(group.names, group.kvm, .kvm, [:])
    }

    @Test("a system call is one exit where ring 3 runs directly, and none where it is translated")
    func systemCalls() throws {
        let direct = try [160, 320].map {
            try run(.software, ["--rounds", "2", "--operations", "\($0)", "--only", "syscall"], ["userMode": "direct"])
        }
        #expect(increase("system-call", direct[0], direct[1]) == 320)
        let translated = try [160, 320].map {
            try run(
                .software, ["--rounds", "2", "--operations", "\($0)", "--only", "syscall"], ["userMode": "translate"])
        }
        #expect(increase("system-call", translated[0], translated[1]) == 0)
        let calls = try translated.map { try #require($0.counters["software.inlineSystemCalls"]) }
        #expect(calls[1] - calls[0] == 320)
    }
}
