import CLinux
import Glibc

/// Software and hardware event counts of a process and all it starts (perf_event_open(2)).
///
/// Create it while the process is stopped before its first instruction, `start()`, let it run, `read()` after its end.
/// Events the host lacks are reported with the reason; the rest is counted all the same.
public final class PerfCounters {
    private struct Event {
        var name: String
        var type: perf_type_id
        var config: UInt64
    }

    private struct Counter {
        var name: String
        var descriptor: Int32
        var isUserOnly: Bool
    }

    private static let events: [Event] = {
        // Level, operation and result of a cache event (perf_event_open(2), PERF_TYPE_HW_CACHE).
        let dtlbReadMiss =
            UInt64(PERF_COUNT_HW_CACHE_DTLB.rawValue) | UInt64(PERF_COUNT_HW_CACHE_OP_READ.rawValue) << 8
            | UInt64(PERF_COUNT_HW_CACHE_RESULT_MISS.rawValue) << 16
        func software(_ name: String, _ id: perf_sw_ids) -> Event {
            Event(name: name, type: PERF_TYPE_SOFTWARE, config: UInt64(id.rawValue))
        }
        func hardware(_ name: String, _ id: perf_hw_id) -> Event {
            Event(name: name, type: PERF_TYPE_HARDWARE, config: UInt64(id.rawValue))
        }
        return [
            software("perf.taskClockNanoseconds", PERF_COUNT_SW_TASK_CLOCK),
            software("perf.pageFaults", PERF_COUNT_SW_PAGE_FAULTS),
            software("perf.contextSwitches", PERF_COUNT_SW_CONTEXT_SWITCHES),
            software("perf.cpuMigrations", PERF_COUNT_SW_CPU_MIGRATIONS),
            hardware("perf.cycles", PERF_COUNT_HW_CPU_CYCLES),
            hardware("perf.instructions", PERF_COUNT_HW_INSTRUCTIONS),
            hardware("perf.branches", PERF_COUNT_HW_BRANCH_INSTRUCTIONS),
            hardware("perf.branchMisses", PERF_COUNT_HW_BRANCH_MISSES),
            hardware("perf.cacheReferences", PERF_COUNT_HW_CACHE_REFERENCES),
            hardware("perf.cacheMisses", PERF_COUNT_HW_CACHE_MISSES),
            Event(name: "perf.dtlbReadMisses", type: PERF_TYPE_HW_CACHE, config: dtlbReadMiss),
        ]
    }()

    // Invariant: descriptors are open until deinit.
    private var counters: [Counter] = []
    /// Events that cannot be counted here, with the reason.
    public private(set) var unavailable: [String: String] = [:]

    /// Counters of process `pid` (0: this one), not yet running.
    public init(process pid: pid_t) {
        for event in Self.events {
            // With the kernel where allowed; an unprivileged user may count only user code.
            let whole = clinux_perf_open(UInt32(event.type.rawValue), event.config, pid, 0)
            if whole >= 0 {
                counters.append(Counter(name: event.name, descriptor: whole, isUserOnly: false))
                continue
            }
            let user = clinux_perf_open(UInt32(event.type.rawValue), event.config, pid, 1)
            if user >= 0 {
                counters.append(Counter(name: event.name, descriptor: user, isUserOnly: true))
            } else {
                unavailable[event.name] = Self.reason(errno)
            }
        }
    }

    deinit { for counter in counters { close(counter.descriptor) } }

    /// Counts from now on.
    public func start() {
        for counter in counters where clinux_perf_enable(counter.descriptor) != 0 {
            unavailable[counter.name] = Self.reason(errno)
        }
    }

    /// The counts so far, by name; user-only counts have the suffix `.user`. An event that shared its hardware counter with
    /// others is scaled by the share of time it ran.
    public func read() -> [String: Double] {
        var values: [String: Double] = [:]
        for counter in counters where unavailable[counter.name] == nil {
            var words: (value: UInt64, enabled: UInt64, running: UInt64) = (0, 0, 0)
            guard Glibc.read(counter.descriptor, &words, 24) == 24 else {
                unavailable[counter.name] = Self.reason(errno)
                continue
            }
            guard words.running > 0 || words.enabled == 0 else {
                unavailable[counter.name] = "the event was never on the PMU: too many events at a time"
                continue
            }
            let scale = words.running > 0 ? Double(words.enabled) / Double(words.running) : 1
            values[counter.name + (counter.isUserOnly ? ".user" : "")] = Double(words.value) * scale
        }
        return values
    }

    private static func reason(_ code: Int32) -> String {
        switch code {
        case ENOENT, ENODEV, EOPNOTSUPP: "this host has no such event (no PMU, or not passed to this VM)"
        case EACCES, EPERM: "not permitted; see /proc/sys/kernel/perf_event_paranoid"
        default: "perf_event_open: \(String(cString: strerror(code)))"
        }
    }
}
