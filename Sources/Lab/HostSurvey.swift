import Backends
import Host
import Results

/// The host as reports carry it.
public enum HostSurvey {
    /// - Parameter cpus: where this run's trials go.
    public static func record(cpus: CPUPlacement) -> HostRecord {
        HostRecord(
            tscHertz: Double(TimestampCounter.hertz),
            facts: [
                "measuredCPU": .integer(Int64(cpus.measured)),
                "measuredCPUReason": .string(cpus.reason),
                "otherCPU": cpus.other.map { .integer(Int64($0)) } ?? .null,
            ])
    }
}
