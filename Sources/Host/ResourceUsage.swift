import Glibc

/// What a process has used of the host (getrusage(2)).
public struct ResourceUsage: Sendable, Equatable {
    public var userSeconds: Double
    public var systemSeconds: Double
    public var minorFaults: UInt64
    public var majorFaults: UInt64
    public var voluntaryContextSwitches: UInt64
    public var involuntaryContextSwitches: UInt64
    public var maximumResidentBytes: UInt64

    /// Of this process until now.
    public static func current() -> ResourceUsage {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return ResourceUsage(usage)
    }

    public init(_ usage: rusage) {
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        userSeconds = seconds(usage.ru_utime)
        systemSeconds = seconds(usage.ru_stime)
        minorFaults = UInt64(usage.ru_minflt)
        majorFaults = UInt64(usage.ru_majflt)
        voluntaryContextSwitches = UInt64(usage.ru_nvcsw)
        involuntaryContextSwitches = UInt64(usage.ru_nivcsw)
        maximumResidentBytes = UInt64(usage.ru_maxrss) * 1024
    }

    /// By the names that reports use.
    public var counters: [String: Double] {
        [
            "host.userSeconds": userSeconds,
            "host.systemSeconds": systemSeconds,
            "host.minorFaults": Double(minorFaults),
            "host.majorFaults": Double(majorFaults),
            "host.voluntaryContextSwitches": Double(voluntaryContextSwitches),
            "host.involuntaryContextSwitches": Double(involuntaryContextSwitches),
            "host.maxResidentBytes": Double(maximumResidentBytes),
        ]
    }
}
