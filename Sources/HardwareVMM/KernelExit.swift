/// One exit as KVM's tracepoints show it.
struct KernelExit: Equatable {
    var cause: KernelExitCause
    /// Guest RIP; nil where the tracepoint has none.
    var rip: UInt64?
    /// CLOCK_MONOTONIC_RAW, in nanoseconds.
    var start: UInt64
    /// Time inside KVM in nanoseconds: without what was spent outside of KVM_RUN or, other than in a halt, without a CPU; nil where lost events or the end of the trace leave
    /// its end unknown.
    var nanoseconds: UInt64?
    /// Events whose recording took part of that time.
    var recordings: UInt32 = 1
    /// Whether KVM_RUN came back for it.
    var reachedVMM = false
    /// Its end is the next event of any kind, so the time has what guest ring 3 ran in between.
    var includesUserMode = false
}

/// Makes exits of the events of one vCPU, in the order in which they happened. Pure: events in, exits out.
///
///     hardware:   exit ───────────── entry          time from an exit to the next entry
///     emulation:  instruction ─ instruction ─ …     time from each to the next
///     both:          … userspaceExit  userspaceReturn …    what lies between is the VMM's and left out
///                    … switchedOut  switchedIn …           other processes', and left out, but of a halt: that is waiting
struct ExitPairing {
    let technique: KVMTracepoints.Technique
    /// Begun, and not yet ended.
    private var open: KernelExit?
    /// When KVM_RUN came back for `open`, until it is called again.
    private var leftAt: UInt64?
    private var outside: UInt64 = 0
    /// When the thread lost its CPU during `open`.
    private var switchedOutAt: UInt64?
    /// Time without a CPU that is in no exit's time, in nanoseconds.
    private(set) var withoutCPU: UInt64 = 0
    /// Events that the buffer had no room for.
    private(set) var lostEvents: UInt64 = 0

    init(_ technique: KVMTracepoints.Technique) { self.technique = technique }

    /// Takes the next event. Returns the exit that it ends, or breaks.
    mutating func consume(_ event: KVMTraceEvent, at time: UInt64) -> KernelExit? {
        switch event {
        case .exit(let cause, let rip):
            // An exit without an entry since the last one: that entry is missing.
            let broken = closed(at: nil)
            begin(KernelExit(cause: cause, rip: rip, start: time))
            return broken
        case .entry:
            return closed(at: time)
        case .emulated(let cause, let rip, let returnsToUser):
            guard technique == .emulation else { return note() }
            let ended = closed(at: time)
            begin(KernelExit(cause: cause, rip: rip, start: time, includesUserMode: returnsToUser))
            return ended
        case .exception(let vector):
            guard technique == .emulation else {
                // A fault in shadowed page tables that turns out to be the guest's own.
                if vector == 14, open?.cause.reason == .shadowFill { open?.cause.reason = .guestPageFault }
                return note()
            }
            let ended = closed(at: time)
            begin(KernelExit(cause: .injected(vector), rip: nil, start: time))
            return ended
        case .emulationFailed:
            return note()
        case .userspaceExit:
            guard open != nil else { return nil }
            open?.reachedVMM = true
            leftAt = time
            return nil
        case .userspaceReturn:
            if let left = leftAt {
                outside &+= time &- left
                leftAt = nil
            }
            return note()
        case .switchedOut:
            if let open, leftAt == nil, open.cause.reason != .halt { switchedOutAt = time }
            return nil
        case .switchedIn:
            if let out = switchedOutAt {
                outside &+= time &- out
                withoutCPU &+= time &- out
                switchedOutAt = nil
            }
            return nil
        case .lost(let count):
            lostEvents += count
            return closed(at: nil)
        case .irrelevant:
            return note()
        }
    }

    /// The exit still open when the trace ends.
    mutating func finish() -> KernelExit? {
        // One that went to the VMM and did not come back is complete.
        closed(at: leftAt)
    }

    private mutating func begin(_ exit: KernelExit) {
        open = exit
        outside = 0
        leftAt = nil
        switchedOutAt = nil
    }

    private mutating func note() -> KernelExit? {
        open?.recordings += 1
        return nil
    }

    /// Ends `open`; `end` is nil where it is not known.
    private mutating func closed(at end: UInt64?) -> KernelExit? {
        guard var exit = open else { return nil }
        open = nil
        // Where the return to KVM_RUN did not show, time counts up to its leaving.
        if let end { exit.nanoseconds = (leftAt ?? end) &- exit.start &- outside }
        leftAt = nil
        return exit
    }
}
