import Glibc
import GuestImages
import HardwareVMM
import Host
import Machine
import Results
import Testing

@testable import Backends

/// Whether this host has a /dev/kvm that vbench can use.
private let kvmWorks: Bool = {
    if case .available = KVMBackend.availability() { return true }
    return false
}()

/// Real programs on the real guest kernel under KVM. Without the jail, which would close over the test process.
@Suite("Guests under KVM", .enabled(if: kvmWorks, "there is no usable /dev/kvm here"))
struct KVMGuestTests {
    /// Keeps the program's standard output. Used by one thread.
    private final class Output: TrialObserver, @unchecked Sendable {
        private(set) var bytes: [UInt8] = []
        var text: String { String(decoding: bytes, as: UTF8.self) }
        func programStarted() {}
        func programWrote(stream: Int, bytes: UnsafeRawBufferPointer) { if stream == 1 { self.bytes += bytes } }
        func kernelLogged(_ line: String) {}
    }

    private let output = Output()

    private func specification(_ arguments: [String]) throws -> TrialSpecification {
        let name = arguments[0]
        let host = try GuestImages.program(named: name) ?? name
        let guest = name.hasPrefix("/") ? name : "/bin/\(name)"
        return TrialSpecification(
            arguments: [guest] + arguments.dropFirst(),
            files: [GuestFile(hostPath: host, guestPath: guest, executable: true)])
    }

    private func run(
        _ arguments: [String], timeLimit: Double = 60, commandLine: String = ""
    ) throws -> TrialResult {
        var specification = try specification(arguments)
        specification.timeLimitSeconds = timeLimit
        return GuestTrial.run(specification, observer: output) { configuration, observer in
            var configuration = configuration
            configuration.commandLine = commandLine
            return try KVMMachine(configuration: configuration).run(observer: observer)
        }
    }

    private func failure(_ result: TrialResult) throws -> TrialFailure {
        guard case .failed(let failure) = result.status else {
            throw TrialFailure(kind: .internalError, message: "no failure but \(result.status)")
        }
        return failure
    }

    @Test func aProgramRunsToItsEndAndIsAccountedFor() throws {
        let result = try run(["compute", "--rounds", "2"])
        #expect(result.status == .exited(code: 0), "\(result.status)")
        #expect(result.samples.count == 2)
        #expect(output.text.contains("check ok"))
        let exits = try #require(result.exits)
        #expect(exits.contains { $0.reason == "port-io" && $0.count > 0 && $0.timedCycles > 0 })
        #expect(try #require(result.counters["guest.systemCalls"]) > 0)
        #expect(try #require(result.bootNanoseconds) > 0)
        #expect(try #require(result.programNanoseconds) < result.totalNanoseconds)
    }

    @Test func vectorStateAndTheTimerWork() throws {
        let result = try run(["matmul", "--rounds", "2"])
        #expect(result.status == .exited(code: 0), "\(result.status)")
        #expect(try #require(result.counters["guest.timerTicks"]) > 0)
    }

    @Test(.enabled(if: access("/bin/busybox", X_OK) == 0, "there is no /bin/busybox here"))
    func aProgramThatNobodyHereWrote() throws {
        let result = try run(["/bin/busybox", "echo", "hello"])
        #expect(result.status == .exited(code: 0), "\(result.status)")
        #expect(output.text == "hello\n")
    }

    @Test func aProgramThatNeverEndsIsATimeout() throws {
        let failure = try failure(try run(["spin", "--forever"], timeLimit: 2))
        #expect(failure.kind == .timeout)
        #expect(failure.diagnosis.contains { $0.hasPrefix("RIP=") })
        #expect(failure.diagnosis.contains { $0.hasPrefix("at 0x") })
    }

    @Test func aKernelPanicIsReportedWithRegistersAndBacktrace() throws {
        let failure = try failure(try run(["spin"], commandLine: "nub.panic"))
        #expect(failure.kind == .guestPanic)
        #expect(failure.diagnosis.contains { $0.hasPrefix("rip ") && $0.contains("+0x") })
        #expect(failure.diagnosis.contains { $0.hasPrefix("backtrace 0:") })
    }

    @Test func unknownOptionsAreRefused() throws {
        var specification = try specification(["spin"])
        specification.options = ["turbo": "yes"]
        let failure = try failure(KVMBackend.run(specification, observer: output))
        #expect(failure.kind == .invalid)
        #expect(failure.message.contains("turbo"))
        specification.options = ["hugePages": "maybe"]
        #expect(try self.failure(KVMBackend.run(specification, observer: output)).message.contains("true, false"))
    }

    @Test func aGuestTooSmallForItsFilesIsInvalid() throws {
        var specification = try specification(["compute"])
        specification.memoryBytes = 2 << 20
        let result = GuestTrial.run(specification, observer: output) { configuration, observer in
            try KVMMachine(configuration: configuration).run(observer: observer)
        }
        let failure = try failure(result)
        #expect(failure.kind == .invalid)
        #expect(failure.message.contains("MiB"))
    }
}
