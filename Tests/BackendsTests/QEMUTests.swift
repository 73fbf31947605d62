import Backends
import Foundation
import GuestImages
import Results
import Testing

/// The backends `qemu-tcg` and `qemu-kvm`: the same kernel image, program and records as in machines of vbench's own.
@Suite("QEMU as a backend", .serialized)
struct QEMUTests {
    private static let backends = [BackendName.qemuTCG, .qemuKVM]

    @Test(
        "a program does what it does natively", arguments: backends,
        [["queens", "--size", "6"], ["forkwait", "--operations", "3"], ["matmul", "--size", "64"]])
    func program(backend: BackendName, command: [String]) throws {
        let (native, found) = try TrialRunner.expectSame(
            as: backend, TrialRunner.specification(of: command[0], command[1...] + ["--rounds", "2"]))
        #expect(found.status == .exited(code: 0))
        #expect(found.samples.map(\.phase) == native.samples.map(\.phase))
        #expect(found.samples.map(\.operations) == native.samples.map(\.operations))
        #expect(found.samples.allSatisfy { $0.nanoseconds > 0 })
        #expect(found.programNanoseconds ?? 0 > 0)
        #expect(found.bootNanoseconds ?? 0 > 0)
        #expect(found.exits == nil)
        #expect(found.exitsUnavailable != nil)
        #expect(found.counters["guest.systemCalls"] ?? 0 > 0)
    }

    @Test("records beyond the mailbox's size arrive whole", arguments: backends)
    func manyRecords(backend: BackendName) throws {
        let result = try TrialRunner.run(
            backend, TrialRunner.specification(of: "spin", ["--rounds", "3000", "--operations", "10"]))
        #expect(result.status == .exited(code: 0))
        #expect(result.samples.count == 3000)
    }

    @Test("standard output, standard error and the exit code are told apart", arguments: backends)
    func streams(backend: BackendName) throws {
        let busybox = "/bin/busybox"
        guard FileManager.default.isExecutableFile(atPath: busybox) else {
            try Test.cancel("busybox-static is not installed")
        }
        let result = try TrialRunner.run(
            backend,
            TrialSpecification(
                arguments: [busybox, "sh", "-c", "echo out; echo err >&2; exit 7"],
                files: [GuestFile(hostPath: busybox, guestPath: busybox, executable: true)]))
        #expect(result.status == .exited(code: 7))
        #expect(result.standardOutput.head == "out\n")
        #expect(result.standardError.head == "err\n")
    }

    @Test("a guest's clock runs as fast as the host's", arguments: backends)
    func clock(backend: BackendName) throws {
        let busybox = "/bin/busybox"
        guard FileManager.default.isExecutableFile(atPath: busybox) else {
            try Test.cancel("busybox-static is not installed")
        }
        let result = try TrialRunner.run(
            backend,
            TrialSpecification(
                arguments: [busybox, "sleep", "1"],
                files: [GuestFile(hostPath: busybox, guestPath: busybox, executable: true)]))
        #expect(result.status == .exited(code: 0))
        // A host with other work may take its time; a clock of another frequency is off by more.
        #expect((0.9e9...10e9).contains(try #require(result.programNanoseconds)))
    }

    @Test("a program that does not end is a timeout", arguments: backends)
    func timeout(backend: BackendName) throws {
        var specification = try TrialRunner.specification(of: "spin", ["--forever"])
        specification.timeLimitSeconds = 1
        #expect(try TrialRunner.run(backend, specification).failure().kind == .timeout)
    }

    @Test("an option is refused: there is none", arguments: backends)
    func option(backend: BackendName) throws {
        var specification = try TrialRunner.specification(of: "spin", [])
        specification.options = ["speed": "11"]
        #expect(try TrialRunner.run(backend, specification).failure().kind == .invalid)
    }
}
