import Backends
import Glibc
import Host
import Results

/// The host as reports carry it.
public enum HostSurvey {
    /// Looks at the host now.
    ///
    /// - Parameter cpus: where this run's trials go.
    public static func record(cpus: CPUPlacement) -> HostRecord {
        let host = HostFacts.probe()
        var facts: [String: JSON] = [
            "measuredCPU": .integer(Int64(cpus.measured)),
            "measuredCPUReason": .string(cpus.reason),
            "otherCPU": cpus.other.map { .integer(Int64($0)) } ?? .null,
        ]
        for fact in host.facts { facts[fact.name] = json(fact.value) }
        return HostRecord(
            tscHertz: Double(TimestampCounter.hertz), facts: facts,
            capabilities: host.capabilities.map {
                .init(name: $0.name, present: $0.present, detail: $0.detail)
            })
    }

    /// A warning when other processes keep the CPUs busy; nil on a quiet host.
    public static var disturbance: String? {
        var load = 0.0
        guard getloadavg(&load, 1) == 1 else { return nil }
        let cpus = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        guard load > Double(cpus) / 2 else { return nil }
        let rounded = (load * 10).rounded() / 10
        return "load average \(rounded) on \(cpus) CPUs: other processes will widen the confidence intervals"
    }

    /// What cannot be known is an object with the reason, so that it is never taken for a value.
    private static func json(_ value: HostFact.Value) -> JSON {
        switch value {
        case .text(let text): .string(text)
        case .integer(let number): .integer(number)
        case .flag(let flag): .bool(flag)
        case .unavailable(let reason): .object(["unavailable": .string(reason)])
        }
    }
}
