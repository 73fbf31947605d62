import Foundation
import GuestInterface
import Machine
import Results

/// Receives everything a guest sends during a trial, and keeps what the trial's result needs.
///
/// The guest may be hostile: every length is checked, every quantity is bounded, and the first record that breaks the protocol is
/// kept as `problem`, which fails the trial. Used by one thread, the vCPU's.
public final class GuestRecords: MachineObserver {
    /// A `KernelPanicRecord` with its text.
    public struct Panic {
        public var record: KernelPanicRecord
        public var text: String
    }

    private static let maximumMessages = 40
    private static let maximumMessageBytes = 1024
    private static let maximumUnknownSystemCalls = 512
    private static let maximumSerialBytes = 4096

    private let observer: any TrialObserver
    private var standardOutput = OutputDigestBuilder()
    private var standardError = OutputDigestBuilder()
    private var serial: [UInt8] = []

    public private(set) var programRecords: ProgramRecords
    /// TSC of the program's first instruction, once it has been reached.
    public private(set) var programStartTSC: UInt64?
    public private(set) var programExit: ProgramExitRecord?
    public private(set) var panic: Panic?
    public private(set) var unknownSystemCalls: [String: UInt64] = [:]
    /// Names of the program's timed phases by number.
    private var phaseNames: [Int: String] = [:]
    /// The last lines of the kernel's log.
    public private(set) var kernelMessages: [String] = []
    /// How the guest broke the protocol, or nil.
    public private(set) var problem: String?

    public init(observer: any TrialObserver, tscHertz: UInt64) {
        self.observer = observer
        programRecords = ProgramRecords(tscHertz: tscHertz)
    }

    public var outputDigests: (standardOutput: OutputDigest, standardError: OutputDigest) {
        (standardOutput.digest(), standardError.digest())
    }

    /// The last lines that came over the serial line.
    public var serialTail: [String] {
        String(decoding: serial, as: UTF8.self).split(whereSeparator: \.isNewline).map(String.init)
    }

    public func record(_ header: MailboxRecordHeader, payload: UnsafeRawBufferPointer) {
        switch header.kind {
        case MailboxRecordKind.programRecord: programRecords.append(payload)
        case MailboxRecordKind.phase: phase(header)
        case MailboxRecordKind.phaseName: phaseName(header, payload)
        case MailboxRecordKind.programExit: programExit(payload)
        case MailboxRecordKind.unknownSystemCall: unknownSystemCall(payload)
        case MailboxRecordKind.kernelPanic: kernelPanic(payload)
        case MailboxRecordKind.output: output(header, payload)
        case MailboxRecordKind.kernelMessage: kernelMessage(payload)
        default: fail("a record of unknown kind \(header.kind)")
        }
    }

    public func serialOutput(_ bytes: UnsafeRawBufferPointer) {
        serial.append(contentsOf: bytes.suffix(Self.maximumSerialBytes))
        if serial.count > Self.maximumSerialBytes { serial.removeFirst(serial.count - Self.maximumSerialBytes) }
    }

    /// Keeps the first reason why the guest's records cannot be trusted.
    public func fail(_ reason: String) {
        if problem == nil { problem = reason }
    }

    private func phase(_ header: MailboxRecordHeader) {
        guard header.detail == BootPhase.programStart else { return }
        guard programStartTSC == nil else { return fail("the program started twice") }
        programStartTSC = header.tsc
        observer.programStarted()
    }

    /// What the program calls its timed phase of this number; nil where it did not say, or no name that a report can have.
    public func phaseName(_ number: Int) -> String? { phaseNames[number] }

    private func phaseName(_ header: MailboxRecordHeader, _ payload: UnsafeRawBufferPointer) {
        let name = String(decoding: payload.prefix(Self.maximumMessageBytes), as: UTF8.self)
        guard Int(header.detail) < ExitLedger.timedPhaseLimit, ProgramRecords.isName(name),
            !Self.ownPhases.contains(name)
        else { return }
        phaseNames[Int(header.detail)] = name
    }

    /// Phases of a ledger that are not the program's.
    private static let ownPhases: Set<String> = ["boot", "program", "shutdown"]

    private func programExit(_ payload: UnsafeRawBufferPointer) {
        guard let record = load(ProgramExitRecord.self, payload, "program exit") else { return }
        guard programExit == nil else { return fail("the program ended twice") }
        programExit = record
    }

    private func unknownSystemCall(_ payload: UnsafeRawBufferPointer) {
        guard let record = load(SystemCallCountRecord.self, payload, "unknown system call") else { return }
        guard unknownSystemCalls.count < Self.maximumUnknownSystemCalls else {
            return fail("more than \(Self.maximumUnknownSystemCalls) unknown system calls")
        }
        unknownSystemCalls[LinuxSystemCall.name(record.number), default: 0] &+= record.count
    }

    private func kernelPanic(_ payload: UnsafeRawBufferPointer) {
        let size = MemoryLayout<KernelPanicRecord>.size
        guard payload.count >= size else { return fail("a kernel panic record of \(payload.count) bytes") }
        // A panic while panicking: the first one is the cause.
        guard panic == nil else { return }
        let record = payload.loadUnaligned(as: KernelPanicRecord.self)
        let text = payload.dropFirst(size).prefix(Int(min(record.textLength, UInt32(Self.maximumMessageBytes))))
        panic = Panic(record: record, text: Self.line(text))
    }

    private func output(_ header: MailboxRecordHeader, _ payload: UnsafeRawBufferPointer) {
        switch header.detail {
        case 1: standardOutput.append(payload)
        case 2: standardError.append(payload)
        default: return fail("output to stream \(header.detail)")
        }
        observer.programWrote(stream: Int(header.detail), bytes: payload)
    }

    private func kernelMessage(_ payload: UnsafeRawBufferPointer) {
        let line = Self.line(payload.prefix(Self.maximumMessageBytes))
        kernelMessages.append(line)
        if kernelMessages.count > Self.maximumMessages { kernelMessages.removeFirst() }
        observer.kernelLogged(line)
    }

    private func load<T>(_ type: T.Type, _ payload: UnsafeRawBufferPointer, _ name: String) -> T? {
        guard payload.count == MemoryLayout<T>.size else {
            fail("a record '\(name)' of \(payload.count) bytes, not \(MemoryLayout<T>.size)")
            return nil
        }
        return payload.loadUnaligned(as: type)
    }

    /// Text for a terminal or a report: one line, no control characters.
    private static func line(_ bytes: Slice<UnsafeRawBufferPointer>) -> String {
        let scalars = String(decoding: bytes, as: UTF8.self).unicodeScalars.map { scalar in
            scalar.properties.generalCategory == .control ? " " : Character(scalar)
        }
        return String(scalars).trimmingCharacters(in: .whitespaces)
    }
}
