/// One look of the live view as JSON, one line each.
struct TopJSON: Encodable {
    struct Machine: Encodable {
        var pid: Int32
        var backend: String
        var workload: String
        var seconds: Double
        var processorShare: Double
        var guestShare: Double
        var exitsPerSecond: Double
        var residentBytes: UInt64
        /// Absent where it is not to be seen.
        var guestBytes: UInt64?
        var guestMemoryBytes: UInt64
        var exits: [Exit]
    }

    struct Exit: Encodable {
        var reason: String
        var perSecond: Double
        var total: UInt64
        /// Absent where none happened meanwhile.
        var meanNanoseconds: Double?
        var timeShare: Double
    }

    var interval: Double
    var unreadableProcesses: Int
    var machines: [Machine]

    init(_ screen: TopScreen) {
        interval = screen.interval
        unreadableProcesses = screen.unreadable
        machines = screen.order.sorted(screen.machines).map { activity in
            let machine = activity.machine
            return Machine(
                pid: machine.identity.pid, backend: machine.ledger.backend, workload: machine.ledger.title,
                seconds: activity.seconds, processorShare: activity.processorShare, guestShare: activity.guestShare,
                exitsPerSecond: activity.exitsPerSecond, residentBytes: machine.residentBytes,
                guestBytes: machine.guestBytes, guestMemoryBytes: machine.ledger.memoryBytes,
                exits: activity.reasons.map {
                    Exit(
                        reason: $0.name, perSecond: $0.perSecond, total: $0.total, meanNanoseconds: $0.meanNanoseconds,
                        timeShare: $0.share)
                })
        }
    }
}
