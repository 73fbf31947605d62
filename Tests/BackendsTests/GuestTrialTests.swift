import Backends
import GuestInterface
import Machine
import Results
import Testing

/// The results of trials whose machine is made up here: what the guest sends is chosen by each test.
@Suite("Guest trials")
struct GuestTrialTests {
    /// Collects what a trial's observer is told. Used by one thread.
    private final class Observer: TrialObserver, @unchecked Sendable {
        var started = 0
        var written: [Int: [UInt8]] = [:]
        var logged: [String] = []
        func programStarted() { started += 1 }
        func programWrote(stream: Int, bytes: UnsafeRawBufferPointer) { written[stream, default: []] += bytes }
        func kernelLogged(_ line: String) { logged.append(line) }
    }

    /// The guest's side: records at will.
    private struct Guest {
        let observer: any MachineObserver

        func send(_ kind: UInt16, detail: UInt16 = 0, tsc: UInt64 = 0, _ payload: [UInt8] = []) {
            payload.withUnsafeBytes {
                observer.record(
                    MailboxRecordHeader(kind: kind, detail: detail, length: UInt32(payload.count), tsc: tsc),
                    payload: $0)
            }
        }

        func send<T>(_ kind: UInt16, record: T, text: String = "") {
            send(kind, withUnsafeBytes(of: record) { Array($0) } + Array(text.utf8))
        }

        func exit(status: Int32 = 0, start: UInt64 = 2000, end: UInt64 = 5000) {
            var record = ProgramExitRecord()
            record.status = status
            record.startTSC = start
            record.endTSC = end
            record.systemCalls = 17
            record.peakMemoryBytes = 4096
            send(MailboxRecordKind.programExit, record: record)
        }
    }

    private let folder: TemporaryFolder
    private let specification: TrialSpecification
    private let observer = Observer()

    init() throws {
        folder = try TemporaryFolder()
        specification = TrialSpecification(
            arguments: ["/program"],
            files: [GuestFile(hostPath: try folder.file("program", ElfBytes().bytes), guestPath: "/program")])
    }

    /// Runs a trial on a machine that lives from TSC 1000 to 10000 at 1 GHz.
    private func trial(_ end: MachineEnd = .debugExit(code: DebugExitCode.done), _ guest: (Guest) -> Void)
        -> TrialResult
    {
        GuestTrial.run(specification, observer: observer) { _, observer in
            guest(Guest(observer: observer))
            return MachineOutcome(end: end, startTSC: 1000, endTSC: 10_000, tscHertz: 1_000_000_000)
        }
    }

    private func failure(_ result: TrialResult) throws -> TrialFailure {
        guard case .failed(let failure) = result.status else {
            throw Unexpected(status: result.status)
        }
        return failure
    }

    private struct Unexpected: Error { var status: TrialStatus }

    @Test("an orderly end: status, times, counters, output")
    func orderly() {
        let result = trial { guest in
            guest.send(MailboxRecordKind.phase, detail: BootPhase.programStart, tsc: 2000)
            guest.send(MailboxRecordKind.output, detail: 1, Array("out".utf8))
            guest.send(MailboxRecordKind.output, detail: 2, Array("err".utf8))
            guest.send(MailboxRecordKind.programRecord, Array("check ".utf8))
            guest.send(MailboxRecordKind.programRecord, Array("ok\nround phase=main cycles=1 operations=7\n".utf8))
            guest.exit(status: 3 << 8)
        }
        #expect(result.status == .exited(code: 3))
        #expect(result.bootNanoseconds == 1000)
        #expect(result.programNanoseconds == 3000)
        #expect(result.totalNanoseconds > 0)
        #expect(result.counters["guest.systemCalls"] == 17)
        #expect(result.counters["guest.peakMemoryBytes"] == 4096)
        #expect(result.samples.map(\.operations) == [7])
        #expect(result.standardOutput.head == "out")
        #expect(result.standardError.head == "err")
        #expect(result.exits == [])
        #expect(observer.started == 1)
        #expect(observer.written == [1: Array("out".utf8), 2: Array("err".utf8)])
    }

    @Test("a program ended by a signal")
    func signal() { #expect(trial { $0.exit(status: 11) }.status == .signaled(signal: 11)) }

    @Test("a core-dump bit beside the signal is no part of it")
    func coreDump() { #expect(trial { $0.exit(status: 0x80 | 11) }.status == .signaled(signal: 11)) }

    @Test("unknown system calls are named and added up")
    func unknownSystemCalls() {
        let result = trial { guest in
            for (number, count) in [(41, 2), (41, 3), (450, 1), (400, 1), (4_000_000_000, 1)] as [(UInt32, UInt64)] {
                var record = SystemCallCountRecord()
                record.number = number
                record.count = count
                guest.send(MailboxRecordKind.unknownSystemCall, record: record)
            }
            guest.exit()
        }
        #expect(
            result.unknownSystemCalls == ["socket": 5, "set_mempolicy_home_node": 1, "#400": 1, "#4000000000": 1])
    }

    @Test("a kernel panic is told with registers and backtrace")
    func panic() throws {
        let result = trial(.debugExit(code: DebugExitCode.panic)) { guest in
            var record = KernelPanicRecord()
            record.vector = 14
            record.cr2 = 0xDEAD_B000
            record.registers.3 = 0x1234
            record.backtrace.0 = 0x77
            record.textLength = 5
            guest.send(MailboxRecordKind.kernelPanic, record: record, text: "oh no")
        }
        let failure = try failure(result)
        #expect(failure.kind == .guestPanic)
        #expect(failure.message.hasSuffix("oh no"))
        let text = failure.diagnosis.joined(separator: "\n")
        #expect(text.contains("vector 14"))
        #expect(text.contains("cr2 0xdeadb000"))
        #expect(text.contains("rbx 0x1234"))
        #expect(text.contains("backtrace 0: 0x77"))
    }

    @Test("a program that cannot start is the trial's fault, with the kernel's reason")
    func cannotStart() throws {
        let result = trial(.debugExit(code: DebugExitCode.cannotStart)) { guest in
            guest.send(MailboxRecordKind.kernelMessage, Array("no such file\u{1B}[2J\n".utf8))
        }
        let failure = try failure(result)
        #expect(failure.kind == .invalid)
        #expect(failure.message.hasSuffix(": no such file [2J"))
        #expect(observer.logged == ["no such file [2J"])
    }

    @Test(
        "ends of the machine become kinds of failure",
        arguments: [
            (.timeout, .timeout), (.cancelled, .cancelled), (.tripleFault, .tripleFault), (.halted, .guestPanic),
            (.emulationFailure("x"), .emulationFailure), (.guestMemoryFault("x"), .emulationFailure),
            (.hostFailure("x"), .internalError), (.debugExit(code: 0x99), .guestPanic),
        ] as [(MachineEnd, TrialFailure.Kind)])
    func ends(end: MachineEnd, kind: TrialFailure.Kind) throws {
        let result = trial(end) { $0.send(MailboxRecordKind.output, detail: 1, [65]) }
        #expect(try failure(result).kind == kind)
        // Nothing that was received is lost.
        #expect(result.standardOutput.head == "A")
        #expect(result.countersUnavailable["guest.systemCalls"] != nil)
        #expect(result.programNanoseconds == nil)
    }

    @Test("an end without an account of the program is no success")
    func noExitRecord() throws { #expect(try failure(trial { _ in }).kind == .internalError) }

    @Test(
        "garbage from the guest fails the trial",
        arguments: [
            (MailboxRecordKind.programExit, 0), (MailboxRecordKind.programExit, 1),
            (MailboxRecordKind.programExit, 5000),
            (MailboxRecordKind.unknownSystemCall, 3), (MailboxRecordKind.kernelPanic, 100),
            (MailboxRecordKind.output, 4),
            (0, 0), (99, 16),
        ] as [(UInt16, Int)])
    func garbage(kind: UInt16, size: Int) throws {
        let result = trial { guest in
            guest.send(kind, [UInt8](repeating: 0xA5, count: size))
            guest.exit()
        }
        #expect(try failure(result).message.contains("garbage"))
    }

    @Test("a panic's text cannot reach beyond its record")
    func panicTextLength() throws {
        let result = trial(.debugExit(code: DebugExitCode.panic)) { guest in
            var record = KernelPanicRecord()
            record.textLength = .max
            guest.send(MailboxRecordKind.kernelPanic, record: record, text: "short")
        }
        #expect(try failure(result).message.hasSuffix(": short"))
    }

    @Test("two ends, two starts", arguments: [MailboxRecordKind.programExit, MailboxRecordKind.phase])
    func twice(kind: UInt16) throws {
        let result = trial { guest in
            for _ in 0..<2 {
                guest.send(MailboxRecordKind.phase, detail: BootPhase.programStart, tsc: 2000)
                if kind == MailboxRecordKind.programExit { guest.exit() }
            }
            if kind == MailboxRecordKind.phase { guest.exit() }
        }
        #expect(try failure(result).kind == .internalError)
        #expect(observer.started == 1)
    }

    @Test("impossible guest times are null with a reason", arguments: [(0, 5000), (5000, 2000), (2000, 20_000)])
    func impossibleTimes(start: Int, end: Int) {
        let result = trial { $0.exit(start: UInt64(start), end: UInt64(end)) }
        #expect(result.status == .exited(code: 0))
        #expect(result.programNanoseconds == nil)
        #expect(result.countersUnavailable["programNanoseconds"] != nil)
    }

    @Test("more unknown system calls than Linux has are garbage")
    func flood() throws {
        let result = trial { guest in
            for number in 0..<2000 {
                var record = SystemCallCountRecord()
                record.number = UInt32(number)
                guest.send(MailboxRecordKind.unknownSystemCall, record: record)
            }
            guest.exit()
        }
        #expect(try failure(result).kind == .internalError)
    }

    @Test("a specification that cannot run never reaches the machine")
    func invalid() throws {
        let result = GuestTrial.run(TrialSpecification(arguments: ["/none"]), observer: observer) { _, _ in
            Issue.record("the machine ran")
            throw MachineError.invalidConfiguration("unreachable")
        }
        #expect(try failure(result).kind == .invalid)
    }

    @Test(
        "what the machine throws becomes the failure",
        arguments: [
            (.outOfGuestMemory(neededBytes: 2, availableBytes: 1, purpose: "x"), .invalid),
            (.unavailable(reason: "no KVM", remedy: "none"), .unavailable),
            (.system(operation: "mmap", errno: 12, message: "no memory"), .internalError),
        ] as [(MachineError, TrialFailure.Kind)])
    func thrown(error: MachineError, kind: TrialFailure.Kind) throws {
        let result = GuestTrial.run(specification, observer: observer) { _, _ in throw error }
        #expect(try failure(result).kind == kind)
        #expect(result.exits == nil)
    }
}
