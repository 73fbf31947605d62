import CLinux
import Glibc
import Host
import Machine
import Synchronization

/// Records the exits that KVM takes for one vCPU while its guest runs, by KVM's tracepoints.
///
///     vCPU thread    KVM_RUN … KVM_RUN …        the kernel writes events into a buffer
///                    enter ──────┐
///     reader thread  ────────────┴─ drain ─ pairing ─ ledger
///
/// The reader is a thread of its own, on other CPUs where there are any: the guest's thread does nothing for it but note
/// phases. It starts before the jail, whose filter it gets as well, and needs no rights afterwards.
///
/// Everything but `Reader` belongs to the vCPU's thread.
final class KernelExitTrace {
    private let tracepoints: KVMTracepoints
    private let buffer: TraceBuffer
    private let reader: Reader
    private var thread = pthread_t()
    private var isReading = false
    private var phase = LedgerPhase.boot
    let cost: TracingCost

    /// Bytes of the buffer: a quarter of a second of the densest stream seen (a million events a second).
    private static let bufferBytes = 16 << 20

    /// Opens the events of the calling thread, which is to run the vCPU, measures what they cost, and begins to record.
    ///
    /// - Parameter otherCPUs: where the reader may run; empty: where this thread may.
    /// - Throws: `Tracepoint.Unavailable` where tracing is not possible or not permitted; `HostError` and `MachineError` for what
    ///   fails on the way.
    init(flavour: KVMFlavour, otherCPUs: [Int]) throws {
        tracepoints = try KVMTracepoints(flavour: flavour)
        buffer = try TraceBuffer(tracepoints.all, bufferBytes: Self.bufferBytes)
        cost = try TracingCost.measure(tracepoints, buffer)
        reader = Reader(tracepoints, buffer, KernelExitLedger(cost: cost), otherCPUs)
        try startReader()
        try buffer.start()
    }

    deinit { endReader() }

    private func startReader() throws(HostError) {
        let context = Unmanaged.passRetained(reader)
        let status = pthread_create(
            &thread, nil,
            { raw in
                Unmanaged<Reader>.fromOpaque(raw!).takeRetainedValue().run()
                return nil
            }, context.toOpaque())
        guard status == 0 else {
            context.release()
            throw HostError("start the thread that reads KVM's events", code: status)
        }
        isReading = true
        // It still needs calls that a jail forbids.
        while !reader.isReady.load(ordering: .acquiring) { usleep(50) }
    }

    private func endReader() {
        guard isReading else { return }
        isReading = false
        reader.stop.store(true, ordering: .releasing)
        pthread_join(thread, nil)
    }

    /// From here on exits belong to `phase`; before the first change, to `boot`. Called again with the same phase, it does nothing.
    ///
    /// Neither allocates nor waits: where the reader is behind by as many phases as the queue holds, this one is left out and its
    /// exits are the phase's before.
    func enter(_ phase: LedgerPhase) {
        guard phase != self.phase else { return }
        self.phase = phase
        reader.phases.push(phase)
    }

    /// Ends the recording, reads what is left and gives the result.
    func finish() -> KernelExitProfile {
        endReader()
        return reader.profile(counts: buffer.counts())
    }

    /// The reading thread's part.
    ///
    /// Invariant: from the thread's start to its end only that thread touches what is `var` here.
    private final class Reader: @unchecked Sendable {
        let stop = Atomic<Bool>(false)
        let isReady = Atomic<Bool>(false)
        let phases = PhaseQueue()
        private let tracepoints: KVMTracepoints
        private let buffer: TraceBuffer
        private let cpus: [Int32]
        private var pairing: ExitPairing
        private var ledger: KernelExitLedger
        private var phase: (current: LedgerPhase, since: UInt64, previous: LedgerPhase) = (.boot, 0, .boot)
        private var next: PhaseQueue.Mark?

        init(_ tracepoints: KVMTracepoints, _ buffer: TraceBuffer, _ ledger: KernelExitLedger, _ cpus: [Int]) {
            self.tracepoints = tracepoints
            self.buffer = buffer
            self.ledger = ledger
            self.cpus = cpus.map(Int32.init)
            pairing = ExitPairing(tracepoints.technique)
        }

        func run() {
            // Signals are for the vCPU's thread.
            var all = sigset_t()
            sigfillset(&all)
            pthread_sigmask(SIG_SETMASK, &all, nil)
            if !cpus.isEmpty { _ = clinux_run_on_cpus(cpus, Int32(cpus.count)) }
            _ = clinux_drop_capabilities()
            isReady.store(true, ordering: .releasing)
            while true {
                let isLast = stop.load(ordering: .acquiring)
                let records = drain()
                if isLast { break }
                if records < 64 { usleep(1000) }
            }
            if let exit = pairing.finish() { add(exit) }
        }

        private func drain() -> Int {
            buffer.drain { record in
                let (event, time) = tracepoints.event(record)
                // A phase was pushed before any event that follows it reached the buffer.
                if next == nil { next = phases.pop() }
                while let mark = next, time >= mark.nanoseconds {
                    phase = (mark.phase, mark.nanoseconds, phase.current)
                    next = phases.pop()
                }
                if let exit = pairing.consume(event, at: time) { add(exit) }
            }
        }

        /// The exit that a phase changes in began in the one before. As in the VMM's own ledger it is not charged to a timed phase.
        private func add(_ exit: KernelExit) {
            guard exit.start < phase.since else { return ledger.add(exit, phase: phase.current) }
            if case .timed = phase.previous { return ledger.add(exit, phase: phase.current) }
            ledger.add(exit, phase: phase.previous)
        }

        func profile(counts: [String: UInt64]) -> KernelExitProfile {
            let limit = ledger.limitReturns()
            return KernelExitProfile(
                ledger: ledger, technique: tracepoints.technique, counts: counts, pairing: pairing,
                lostPhases: phases.lost,
                returnLimitNanoseconds: limit)
        }
    }
}

/// Phases on their way from the vCPU's thread to the reader: one thread pushes, one pops.
final class PhaseQueue: Sendable {
    struct Mark {
        var phase: LedgerPhase
        /// CLOCK_MONOTONIC_RAW.
        var nanoseconds: UInt64
    }

    private static let capacity = 1024
    // Invariant: `capacity` marks from init to deinit. Those from `popped` to `pushed` belong to the popping thread, the others to the
    // pushing one; indices are modulo the capacity.
    private nonisolated(unsafe) let marks: UnsafeMutablePointer<Mark>
    private let pushed = Atomic<Int>(0)
    private let popped = Atomic<Int>(0)
    private let left = Atomic<Int>(0)

    init() {
        marks = .allocate(capacity: Self.capacity)
        marks.initialize(repeating: Mark(phase: .boot, nanoseconds: 0), count: Self.capacity)
    }

    deinit { marks.deallocate() }

    /// Marks that found no room.
    var lost: Int { left.load(ordering: .relaxed) }

    func push(_ phase: LedgerPhase) {
        let index = pushed.load(ordering: .relaxed)
        guard index - popped.load(ordering: .acquiring) < Self.capacity else {
            left.add(1, ordering: .relaxed)
            return
        }
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC_RAW, &time)
        let nanoseconds = UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
        marks[index % Self.capacity] = Mark(phase: phase, nanoseconds: nanoseconds)
        pushed.store(index + 1, ordering: .releasing)
    }

    func pop() -> Mark? {
        let index = popped.load(ordering: .relaxed)
        guard index < pushed.load(ordering: .acquiring) else { return nil }
        let mark = marks[index % Self.capacity]
        popped.store(index + 1, ordering: .releasing)
        return mark
    }
}
