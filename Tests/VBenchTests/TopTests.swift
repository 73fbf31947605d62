import Foundation
import Machine
import Testing

@testable import vbench

@Suite struct TopScreenTests {
    private func machine(
        _ pid: Int32, ticks: UInt64 = 0, exits: [(String, UInt64, UInt64)] = [], resident: UInt64 = 1 << 20
    ) -> RunningMachine {
        RunningMachine(
            identity: .init(pid: pid, startTicks: 1),
            ledger: .init(
                backend: "kvm", title: "work-\(pid)", memoryBytes: 128 << 20, startTSC: 1_000_000_000,
                tscHertz: 1_000_000_000, reasons: exits.map { .init(name: $0.0, count: $0.1, cycles: $0.2) }),
            processorTicks: ticks, residentBytes: resident, guestBytes: 12 << 20)
    }

    private func activity(_ old: RunningMachine, _ new: RunningMachine, elapsed: Double = 2) -> MachineActivity {
        MachineActivity(from: old, to: new, elapsed: elapsed, now: 71_000_000_000, ticksPerSecond: 100)
    }

    @Test func ratesAreOfTheInterval() {
        let old = machine(7, ticks: 1000, exits: [("port-io", 100, 1_000_000), ("halt", 5, 0), ("mmio", 0, 0)])
        let new = machine(
            7, ticks: 1180, exits: [("port-io", 300, 201_000_000), ("halt", 15, 900_000_000), ("mmio", 0, 0)])
        let seen = activity(old, new)
        #expect(seen.seconds == 70)
        #expect(seen.exitsPerSecond == 105)
        #expect(seen.processorShare == 0.9)
        #expect(abs(seen.guestShare - 0.9 * (1 - 0.2 / 1.1)) < 1e-9, "0.2 of 1.1 s went into exits; halts are waiting")
        #expect(
            seen.reasons == [
                .init(name: "port-io", perSecond: 100, total: 300, meanNanoseconds: 1_000_000, share: 0.1),
                .init(name: "halt", perSecond: 5, total: 15, meanNanoseconds: 90_000_000, share: 0.45),
            ], "without reasons that never occurred")
    }

    @Test func countersThatRunBackwardsGiveNoNonsense() {
        let seen = activity(machine(7, ticks: 50, exits: [("mmio", 100, 100)]), machine(7, exits: [("mmio", 1, 1)]))
        #expect(seen.exitsPerSecond == 0)
        #expect(seen.processorShare == 0)
        #expect(seen.reasons == [.init(name: "mmio", perSecond: 0, total: 1, meanNanoseconds: nil, share: 0)])
    }

    @Test func machinesAreSorted() {
        let three = [
            activity(machine(1), machine(1, ticks: 5, exits: [("mmio", 10, 0)], resident: 7)),
            activity(machine(2), machine(2, ticks: 9, exits: [("mmio", 30, 0)], resident: 5)),
            activity(machine(3), machine(3, ticks: 5, exits: [("mmio", 20, 0)], resident: 9)),
        ]
        func pids(_ order: MachineOrder) -> [Int32] { order.sorted(three).map(\.machine.identity.pid) }
        #expect(pids(.exits) == [2, 3, 1])
        #expect(pids(.cpu) == [2, 1, 3])
        #expect(pids(.memory) == [3, 1, 2])
        #expect(pids(.pid) == [1, 2, 3])
    }

    private func screen(_ count: Int, selected: Int32? = nil) -> TopScreen {
        TopScreen(
            machines: (0..<count).map { number in
                let pid = Int32(4_000_000 + number)
                let reasons = (0..<24).map { ("interrupt-delivery-\($0)", UInt64.max / 64, UInt64(0)) }
                return activity(machine(pid), machine(pid, ticks: 200, exits: reasons))
            }, selected: selected, order: .pid, time: "05:29:11", interval: 1, unreadable: 0, isInteractive: true)
    }

    @Test(arguments: [(80, 24), (132, 50), (40, 10), (20, 5)])
    func aScreenHoldsIt(width: Int, height: Int) {
        for machines in [0, 1, 3, 50] {
            let lines = screen(machines).lines(width: width, height: height)
            #expect(lines.count <= height)
            #expect(lines.allSatisfy { $0.text.count <= width })
        }
    }

    @Test func everyColumnFitsInEighty() {
        let lines = screen(3).lines(width: 1000, height: nil)
        #expect(lines.allSatisfy { $0.text.count <= 80 }, "\(lines.map(\.text).joined(separator: "\n"))")
    }

    @Test func theChosenMachineIsShownHoweverManyThereAre() {
        let lines = screen(50, selected: 4_000_040).lines(width: 80, height: 24)
        #expect(lines.contains { $0.style == .chosen && $0.text.contains("4000040") })
        #expect(lines.contains { $0.text == "Exits to the VMM of work-4000040 (kvm, 4000040)" })
        #expect(lines.contains { $0.text.contains("interrupt-delivery-0") })
    }

    @Test func nothingIsSaidToRunWhereNothingRuns() {
        #expect(screen(0).lines(width: 80, height: 24).contains { $0.text.hasPrefix("No VM of this user runs") })
    }

    @Test(arguments: [
        (0.0, "0.0"), (14.23, "14.2"), (999.9, "999.9"), (1234, "1.2 k"), (183_456, "183 k"), (1_250_000, "1.3 M"),
        (.infinity, "?"),
    ])
    func numbers(value: Double, text: String) {
        #expect(TopScreen.number(value) == text)
    }

    @Test func processesAreReadWhateverTheirNameIs() throws {
        let numbers = (3...52).map { "\($0)" }.joined(separator: " ")
        let status = try #require(ProcessStatus(text: "17 (a) b (c)) \(numbers)"))
        #expect(status == ProcessStatus(text: "1 (x) \(numbers)"))
        #expect(status.processorTicks == 14 + 15)
        #expect(status.startTicks == 22)
        #expect(ProcessStatus(text: "17 (short) S 1 2") == nil)
        #expect(ProcessStatus(text: "") == nil)
    }
}

/// The command, looking at a VM that runs.
@Suite struct TopCommandTests {
    private struct Look: Decodable {
        struct Machine: Decodable {
            var pid: Int32
            var backend: String
            var workload: String
            var guestMemoryBytes: UInt64
            var guestBytes: UInt64?
            var processorShare: Double
            var exits: [Exit]
        }
        struct Exit: Decodable {
            var reason: String
            var total: UInt64
        }
        var machines: [Machine]
    }

    @Test func aRunningMachineIsSeenAndGoesWhenItEnds() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "vbench-top-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let guest = try VBenchProcess.start(
            ["exec", "--backend", "software", "--memory", "96MiB", "--", "/bin/busybox", "sleep", "60"], in: folder,
            errors: folder + "/errors")
        defer {
            guest.terminate()
            guest.waitUntilExit()
        }
        func look() throws -> Look.Machine? {
            let outcome = try VBenchProcess.run(["top", "--once", "--json", "--interval", "0.2"])
            #expect(outcome.code == 0, "\(outcome.errors)")
            return try JSONDecoder().decode(Look.self, from: Data(outcome.output.utf8)).machines
                .first { $0.workload == "busybox" && $0.guestMemoryBytes == 96 << 20 }
        }
        var seen: Look.Machine?
        for _ in 0..<100 where seen == nil { seen = try look() }
        let machine = try #require(seen)
        #expect(machine.backend == "software")
        #expect(!machine.exits.isEmpty)
        #expect(try #require(machine.guestBytes) > 0)
        let text = try VBenchProcess.run(["top", "--once", "--interval", "0.2"])
        #expect(text.output.contains("busybox"))
        #expect(!text.output.contains("\u{1B}"))
        guest.terminate()
        guest.waitUntilExit()
        #expect(try look() == nil)
    }

    @Test func wrongUsageIsSaid() throws {
        #expect(try VBenchProcess.run(["top", "--interval", "0"]).code == 64)
        #expect(try VBenchProcess.run(["top", "-n", "0", "--batch"]).code == 64)
        #expect(try VBenchProcess.run(["top", "--sort", "colour"]).code == 64)
    }
}
