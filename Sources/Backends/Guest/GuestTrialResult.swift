import GuestInterface
import Machine
import Results

/// Puts a trial's result together from how the machine ended and what the guest sent.
///
/// Everything from the guest is a claim: the guest's own times count only where they lie within the machine's.
struct GuestTrialResult {
    private let specification: TrialSpecification
    private let kernel: KernelImage
    private let records: GuestRecords
    private let outcome: MachineOutcome
    private let symbols: GuestSymbols?

    init(
        _ specification: TrialSpecification, _ kernel: KernelImage, _ records: GuestRecords, _ outcome: MachineOutcome,
        _ symbols: GuestSymbols? = nil
    ) {
        self.specification = specification
        self.kernel = kernel
        self.records = records
        self.outcome = outcome
        self.symbols = symbols
    }

    func assembled() -> TrialResult {
        var result = TrialResult(status: status)
        addLedger(to: &result)
        result.counters = outcome.counters
        result.countersUnavailable = outcome.countersUnavailable
        result.unknownSystemCalls = records.unknownSystemCalls
        result.decisions = outcome.decisions
        (result.standardOutput, result.standardError) = records.outputDigests
        addTimes(to: &result)
        addGuestCounters(to: &result)
        var programRecords = records.programRecords
        programRecords.finish(into: &result)
        return result
    }

    // MARK: Ledger

    private func addLedger(to result: inout TrialResult) {
        if let reason = outcome.ledgerUnavailable {
            result.exitsUnavailable = reason
            return
        }
        result.exits = outcome.exits.map { ExitRecord($0, phase: name(of: $0.phase)) }
        result.phases = outcome.phases.map { PhaseRecord($0, name: name(of: $0.phase)) }
        guard let sites = outcome.sites, let symbols else { return }
        result.exitSites = ExitSiteRecord.grouped(sites, symbols) { name(of: $0) }
        result.exitSitesDropped = outcome.droppedSites
    }

    private func name(of phase: LedgerPhase) -> String {
        switch phase {
        case .boot: "boot"
        case .program: "program"
        case .shutdown: "shutdown"
        case .timed(let number): records.phaseName(number) ?? "phase-\(number)"
        }
    }

    // MARK: Status

    private var status: TrialStatus {
        switch outcome.end {
        case .debugExit(DebugExitCode.done): programStatus
        case .debugExit(DebugExitCode.panic): failed(.guestPanic, panicMessage)
        case .debugExit(DebugExitCode.cannotStart): failed(.invalid, cannotStartMessage)
        case .debugExit(let code): failed(.guestPanic, "the guest ended itself with the unknown code \(code)")
        case .reset: failed(.guestPanic, "the guest reset its machine\(ofPanic)")
        case .tripleFault: failed(.tripleFault, "the guest's CPU shut down (triple fault)\(ofPanic)")
        case .halted: failed(.guestPanic, "the guest halted with nothing that could wake it\(ofPanic)")
        case .timeout:
            failed(
                .timeout, "\(program) did not end within its time limit of \(specification.timeLimitSeconds) s")
        case .cancelled: failed(.cancelled, "the trial was cancelled")
        case .emulationFailure(let reason): failed(.emulationFailure, reason)
        case .guestMemoryFault(let reason): failed(.emulationFailure, reason)
        case .hostFailure(let reason): failed(.internalError, reason)
        }
    }

    private var programStatus: TrialStatus {
        if let problem = records.problem {
            return failed(.internalError, "the guest kernel sent garbage: \(problem)")
        }
        guard let status = records.programExit?.status else {
            return failed(.internalError, "the guest ended without telling how \(program) ended")
        }
        // The layout of wait4(2): a signal in bits 0 to 6, else the exit code in bits 8 to 15.
        let signal = status & 0x7F
        return signal == 0 ? .exited(code: status >> 8 & 0xFF) : .signaled(signal: signal)
    }

    private var program: String { specification.arguments.first ?? "the program" }

    private var panicMessage: String {
        guard let panic = records.panic else { return "the guest kernel panicked and sent no details" }
        return "the guest kernel panicked: \(panic.text)"
    }

    private var ofPanic: String { records.panic.map { ", after a panic: \($0.text)" } ?? "" }

    private var cannotStartMessage: String {
        "the guest kernel could not start \(program): \(records.kernelMessages.last ?? "it gave no reason")"
    }

    private func failed(_ kind: TrialFailure.Kind, _ message: String) -> TrialStatus {
        .failed(TrialFailure(kind: kind, message: message, diagnosis: diagnosis))
    }

    /// For a person: the guest's own account first, then the machine's.
    private var diagnosis: [String] {
        var lines: [String] = []
        if let panic = records.panic { lines += Self.describe(panic, kernel) }
        lines += outcome.diagnosis
        if let problem = records.problem { lines.append("guest protocol broken: \(problem)") }
        lines += records.kernelMessages.suffix(20).map { "kernel: \($0)" }
        lines += records.serialTail.suffix(20).map { "serial: \($0)" }
        return lines
    }

    private static func describe(_ panic: GuestRecords.Panic, _ kernel: KernelImage) -> [String] {
        let record = panic.record
        var lines = [
            "guest kernel panic: \(panic.text)",
            "vector \(record.vector), error code 0x\(String(record.errorCode, radix: 16))",
            "rip \(kernel.describe(record.rip))",
            "rsp \(hexadecimal(record.rsp))  rflags \(hexadecimal(record.rflags))",
            "cr2 \(hexadecimal(record.cr2))  cr3 \(hexadecimal(record.cr3))",
        ]
        // The encoding order of the SDM.
        let names = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"] + (8...15).map { "r\($0)" }
        let registers = zip(names, words(of: record.registers)).map { "\($0) \(hexadecimal($1))" }
        for start in stride(from: 0, to: registers.count, by: 4) {
            lines.append(registers[start..<start + 4].joined(separator: "  "))
        }
        let backtrace = words(of: record.backtrace).prefix { $0 != 0 }
        lines += backtrace.enumerated().map { "backtrace \($0): \(kernel.describe($1))" }
        return lines
    }

    private static func words<T>(of tuple: T) -> [UInt64] {
        withUnsafeBytes(of: tuple) { Array($0.bindMemory(to: UInt64.self)) }
    }

    private static func hexadecimal(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

    // MARK: Times and counters

    private func addTimes(to result: inout TrialResult) {
        let machine = outcome.startTSC...max(outcome.startTSC, outcome.endTSC)
        if let start = records.programStartTSC {
            if machine.contains(start) {
                result.bootNanoseconds = nanoseconds(start - outcome.startTSC)
            } else {
                result.countersUnavailable["bootNanoseconds"] = "the guest's time of the program's start is impossible"
            }
        }
        addLaunchTime(to: &result)
        if let exit = records.programExit {
            if machine.contains(exit.startTSC), machine.contains(exit.endTSC), exit.startTSC <= exit.endTSC {
                result.programNanoseconds = nanoseconds(exit.endTSC - exit.startTSC)
            } else {
                result.countersUnavailable["programNanoseconds"] = "the guest's times of the program are impossible"
            }
        }
    }

    /// From before the start of this process to the program's first instruction: what someone waits for who starts a VM.
    private func addLaunchTime(to result: inout TrialResult) {
        guard let launch = specification.launchTSC, let start = result.bootNanoseconds else { return }
        guard outcome.startTSC >= launch else {
            result.countersUnavailable[Self.launchCounter] = "the guest's TSC is not the host's"
            return
        }
        result.counters[Self.launchCounter] = nanoseconds(outcome.startTSC - launch).map { $0 + start }
    }

    private static let launchCounter = "launch.programStartNanoseconds"

    private func nanoseconds(_ ticks: UInt64) -> Double? {
        outcome.tscHertz > 0 ? Double(ticks) * 1e9 / Double(outcome.tscHertz) : nil
    }

    private func addGuestCounters(to result: inout TrialResult) {
        let names = [
            "guest.systemCalls", "guest.pageFaults", "guest.copyOnWriteFaults", "guest.contextSwitches",
            "guest.timerTicks", "guest.processes", "guest.peakMemoryBytes",
        ]
        guard let exit = records.programExit else {
            for name in names { result.countersUnavailable[name] = "the guest kernel did not report the program's end" }
            return
        }
        let values = [
            exit.systemCalls, exit.pageFaults, exit.copyOnWriteFaults, exit.contextSwitches, exit.timerTicks,
            exit.processes, exit.peakMemoryBytes,
        ]
        for (name, value) in zip(names, values) { result.counters[name] = Double(value) }
    }
}

extension ExitRecord {
    fileprivate init(_ summary: ExitSummary, phase: String) {
        let handler: Handler =
            switch summary.handler {
            case .vmm: .vmm
            case .kvm: .kvm
            case .inline: .inline
            }
        self.init(
            phase: phase, reason: summary.reason.name, rawReason: summary.rawReason, handler: handler,
            count: summary.count,
            times: summary.latency.map {
                ExitTimes(
                    totalCycles: $0.totalCycles, minimumCycles: $0.minimumCycles, maximumCycles: $0.maximumCycles,
                    medianCycles: $0.medianCycles, p99Cycles: $0.p99Cycles)
            }, timesUnavailable: summary.latencyUnavailable, transitionCycles: summary.transitionCycles)
    }
}

extension PhaseRecord {
    fileprivate init(_ summary: PhaseSummary, name: String) {
        var isTimed = false
        if case .timed = summary.phase { isTimed = true }
        self.init(
            name: name, timed: isTimed, entries: summary.entries, cycles: summary.cycles,
            guestCycles: summary.guestCycles)
    }
}
