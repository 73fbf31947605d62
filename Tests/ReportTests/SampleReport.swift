import Foundation
import Results

@testable import Report

/// Reports made by hand for tests.
enum SampleReport {
    static func empty(seed: UInt64 = 1, resolved: JSON = ["name": "s", "workloads": []]) -> RunReport {
        RunReport(
            generator: Generator(version: "0.1"), started: Date(timeIntervalSince1970: 1_700_000_000), seed: seed,
            host: HostRecord(tscHertz: 2e9), suite: SuiteRecord(name: "s", path: "s.json", resolved: resolved))
    }

    /// A trial that passed, with rounds of one operation each.
    static func passed(rounds: [Double], phase: String = "main", exits: [ExitRecord]? = nil) -> TrialResult {
        var result = TrialResult(status: .exited(code: 0))
        result.samples = rounds.map { Sample(phase: phase, nanoseconds: $0, operations: 1) }
        result.programNanoseconds = rounds.reduce(0, +)
        result.totalNanoseconds = 1e9
        result.exits = exits
        if exits == nil { result.exitsUnavailable = "a native program has no VM exits" }
        return result
    }

    /// A trial without rounds.
    static func run(nanoseconds: Double) -> TrialResult {
        var result = TrialResult(status: .exited(code: 0))
        result.programNanoseconds = nanoseconds
        result.totalNanoseconds = nanoseconds * 2
        return result
    }

    static func failed(_ kind: TrialFailure.Kind, _ message: String) -> TrialResult {
        TrialResult(status: .failed(TrialFailure(kind: kind, message: message)))
    }

    static func exit(_ reason: String, count: UInt64, totalCycles: UInt64) -> ExitRecord {
        ExitRecord(
            reason: reason, count: count,
            times: ExitTimes(
                totalCycles: totalCycles, minimumCycles: 1, maximumCycles: totalCycles, medianCycles: 2, p99Cycles: 3))
    }

    static func cell(_ workload: String, _ backend: String, _ results: [TrialResult], variant: String = "default")
        -> CellRecord
    {
        CellRecord(
            workload: workload, backend: backend, variant: variant, plannedTrials: results.count,
            trials: results.enumerated().map {
                TrialRecord(index: $0, order: $0, cpu: 1, startedSeconds: Double($0), result: $1)
            })
    }

    /// Every part of a report, most of them with figures that are easy to check by hand.
    static func full() -> RunReport {
        var report = empty()
        report.backends = [
            BackendRecord(name: "native", available: true),
            BackendRecord(
                name: "kvm", available: true, detail: "KVM flavour pvm, not hardware-assisted",
                facts: ["flavour": "pvm", "hardwareAssisted": false]),
            BackendRecord(name: "software", available: false, reason: "no CPUID faulting", remedy: "use another CPU"),
        ]
        let exits = [
            exit("port-io", count: 900, totalCycles: 1_800_000), exit("halt", count: 100, totalCycles: 1 << 40),
        ]
        report.cells = [
            cell("null-syscall", "native", [100, 110, 90].map { passed(rounds: [$0, $0, $0]) }),
            cell("null-syscall", "kvm", [200, 220, 180].map { passed(rounds: [$0, $0, $0], exits: exits) }),
            CellRecord(workload: "null-syscall", backend: "software", plannedTrials: 3, skipped: "no CPUID faulting"),
            cell("sort", "native", [run(nanoseconds: 1e9), run(nanoseconds: 1.2e9)]),
            cell("sort", "kvm", [run(nanoseconds: 1.5e9), failed(.timeout, "no end after 30 s: raise \"timeLimit\"")]),
            cell("gzip", "kvm", [failed(.guestPanic, "the guest kernel panicked: page fault at 0x10")]),
            CellRecord(workload: "gzip", backend: "native", plannedTrials: 1),
        ]
        report.cells[5].trials[0].result.unknownSystemCalls = ["futex": 3]
        var alone = PlacementRecord(placement: .alone, plannedTrials: 2)
        var same = PlacementRecord(placement: .sameCPU, plannedTrials: 2)
        let different = PlacementRecord(
            placement: .differentCPU, plannedTrials: 2, skipped: "this host has one CPU")
        for index in 0..<2 {
            alone.trials.append(
                ColocationTrial(
                    index: index, order: 10 + index, startedSeconds: 20, victimCPU: 0, aggressorCPU: nil,
                    victim: passed(rounds: [50])))
            same.trials.append(
                ColocationTrial(
                    index: index, order: 12 + index, startedSeconds: 22, victimCPU: 0, aggressorCPU: 0,
                    victim: passed(rounds: [100]),
                    aggressors: [passed(rounds: [7]), failed(.cancelled, "the victim was done")]))
        }
        report.colocations = [
            ColocationRecord(
                name: "pair", backend: "kvm", victim: "null-syscall", aggressor: "spin",
                placements: [alone, same, different])
        ]
        report.complete = false
        report.incompleteReason = "interrupted"
        report.analyze()
        return report
    }
}
