import Machine

/// What a VM did between two looks at it.
struct MachineActivity: Equatable {
    /// Exits of one reason.
    struct Reason: Equatable {
        var name: String
        var perSecond: Double
        /// Since the VM's start.
        var total: UInt64
        /// Mean time of the interval's exits in nanoseconds; nil where there were none.
        var meanNanoseconds: Double?
        /// Share of the interval, 0 to 1.
        var share: Double
    }

    var machine: RunningMachine
    /// Since the VM's start.
    var seconds: Double
    var exitsPerSecond: Double
    /// CPU time of the process by time, 0 to 1 and more.
    var processorShare: Double
    /// The guest's part of that CPU time, as far as exits to the VMM tell; 0 to 1.
    var guestShare: Double
    /// Most frequent first.
    var reasons: [Reason]

    /// - Parameters:
    ///   - elapsed: seconds between the looks, more than 0.
    ///   - now: TSC at the second look.
    init(
        from old: RunningMachine, to new: RunningMachine, elapsed: Double, now: UInt64, ticksPerSecond: Double
    ) {
        machine = new
        let hertz = Double(max(1, new.ledger.tscHertz))
        seconds = now > new.ledger.startTSC ? Double(now - new.ledger.startTSC) / hertz : 0
        var exits = 0.0
        var busy = 0.0
        var waiting = 0.0
        reasons = new.ledger.reasons.compactMap { reason in
            let before = old.ledger.reasons.first { $0.name == reason.name }
            // A hostile VM's counters may run backwards.
            let count = Double(reason.count.subtractingClamped(before?.count ?? 0))
            let spent = Double(reason.cycles.subtractingClamped(before?.cycles ?? 0)) / hertz
            exits += count
            // Waiting is no work.
            if reason.name == ExitReason.halt.name { waiting += spent } else { busy += spent }
            guard reason.count > 0 else { return nil }
            return Reason(
                name: reason.name, perSecond: count / elapsed, total: reason.count,
                meanNanoseconds: count > 0 ? spent * 1e9 / count : nil, share: min(1, spent / elapsed))
        }
        .sorted { ($0.perSecond, $0.total) > ($1.perSecond, $1.total) }
        exitsPerSecond = exits / elapsed
        processorShare =
            Double(new.processorTicks.subtractingClamped(old.processorTicks)) / ticksPerSecond / elapsed
        // Exits are timed by the clock, whoever had the CPU: their part of the time not spent waiting is taken for their part of the
        // CPU time.
        let active = max(elapsed - waiting, busy)
        guestShare = active > 0 ? min(1, processorShare * (1 - busy / active)) : 0
    }
}

extension UInt64 {
    fileprivate func subtractingClamped(_ other: UInt64) -> UInt64 { self > other ? self - other : 0 }
}

/// Order of VMs in the live view.
enum MachineOrder: String, CaseIterable, Sendable {
    case exits, cpu, memory, pid

    /// Ties go by process number, so that lines do not jump.
    func sorted(_ machines: [MachineActivity]) -> [MachineActivity] {
        func key(_ activity: MachineActivity) -> Double {
            switch self {
            case .exits: activity.exitsPerSecond
            case .cpu: activity.processorShare
            case .memory: Double(activity.machine.residentBytes)
            case .pid: 0
            }
        }
        return machines.sorted {
            (key($1), $0.machine.identity.pid) < (key($0), $1.machine.identity.pid)
        }
    }
}
