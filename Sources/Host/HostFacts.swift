import CNuma
import Glibc

/// Everything about this host that could change a figure, and what it offers.
///
/// Probing changes nothing and takes milliseconds.
public struct HostFacts: Codable, Sendable, Equatable {
    /// What the host is, in the order to print it.
    public var facts: [HostFact]
    /// What the host offers or lacks, in the order to print it.
    public var capabilities: [HostCapability]

    /// Looks at this host now.
    public static func probe() -> HostFacts {
        HostFacts(facts: kernel + cpu + clock + memory + scheduling, capabilities: HostCapability.all())
    }

    private static var kernel: [HostFact] {
        var name = utsname()
        uname(&name)
        return [
            HostFact("kernelRelease", text: text(of: name.release)),
            HostFact("kernelVersion", text: text(of: name.version)),
            HostFact("architecture", text: text(of: name.machine)),
            HostFact("distribution", distribution, elseBecause: "no PRETTY_NAME in /etc/os-release"),
        ]
    }

    private static var cpu: [HostFact] {
        let onlineText = HostFile.text("/sys/devices/system/cpu/online")
        let smt = HostFile.integer("/sys/devices/system/cpu/smt/active")
        return [
            HostFact("cpuModel", HostCPU.information("model name"), elseBecause: "not in /proc/cpuinfo"),
            HostFact("cpuVendor", text: HostCPU.vendor),
            HostFact(
                "cpuFamilyModelStepping",
                text: ["cpu family", "model", "stepping"].map { HostCPU.information($0) ?? "?" }
                    .joined(separator: "/")),
            HostFact("microcode", HostCPU.information("microcode"), elseBecause: "not in /proc/cpuinfo"),
            HostFact("onlineCPUs", onlineText, elseBecause: "/sys/devices/system/cpu/online cannot be read"),
            HostFact("coresPerSocket", HostCPU.information("cpu cores"), elseBecause: "not in /proc/cpuinfo"),
            HostFact(
                "smtActive", smt.map { $0 != 0 }, elseBecause: "/sys/devices/system/cpu/smt/active cannot be read"),
            HostFact("hypervisor", text: HostCPU.hypervisor ?? "none"),
            HostFact("linearAddressBits", integer: HostCPU.flags.contains("la57") ? 57 : 48),
            HostFact(
                "cpuFeatures",
                text: [
                    "sse4_2", "popcnt", "avx", "avx2", "fma", "avx512f", "bmi1", "bmi2", "fsgsbase", "pcid", "invpcid",
                    "smep", "smap", "umip", "pku", "la57", "vmx", "svm", "ept", "npt", "x2apic", "tsc_deadline_timer",
                ].filter(HostCPU.flags.contains).joined(separator: " ")),
            HostFact("kvmFlavour", text: KVMFlavour.detect().rawValue),
            HostFact("kvmHardwareAssisted", flag: KVMFlavour.detect().isHardwareAssisted),
            HostFact(
                "vulnerabilityMitigations", mitigations,
                elseBecause: "/sys/devices/system/cpu/vulnerabilities cannot be read"),
        ]
    }

    private static var clock: [HostFact] {
        [
            HostFact("tscHertz", integer: Int64(TimestampCounter.hertz)),
            HostFact("tscSource", text: TimestampCounter.source),
            HostFact("tscInvariant", flag: TimestampCounter.isInvariant),
            HostFact(
                "clocksource",
                HostFile.text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
                elseBecause: "not in /sys"),
        ]
    }

    private static var memory: [HostFact] {
        let pageBytes = Int64(sysconf(Int32(_SC_PAGESIZE)))
        let pages = "/sys/kernel/mm/transparent_hugepage/"
        return [
            HostFact("memoryBytes", integer: Int64(sysconf(Int32(_SC_PHYS_PAGES))) * pageBytes),
            HostFact("pageBytes", integer: pageBytes),
            HostFact(
                "transparentHugePages", HostFile.selection(pages + "enabled"), elseBecause: "the kernel has none"),
            HostFact(
                "transparentHugePagesShared", HostFile.selection(pages + "shmem_enabled"),
                elseBecause: "the kernel has none"),
            HostFact("numaNodes", integer: numa_available() >= 0 ? Int64(numa_num_configured_nodes()) : 1),
            HostFact(
                "maxMapCount", HostFile.integer("/proc/sys/vm/max_map_count"), elseBecause: "cannot be read"),
            HostFact(
                "mmapMinAddress", HostFile.integer("/proc/sys/vm/mmap_min_addr"), elseBecause: "cannot be read"),
            HostFact(
                "overcommitMemory", HostFile.integer("/proc/sys/vm/overcommit_memory"), elseBecause: "cannot be read"),
        ]
    }

    private static var scheduling: [HostFact] {
        let frequency = "/sys/devices/system/cpu/cpu0/cpufreq/"
        let isolated = HostFile.text("/sys/devices/system/cpu/isolated") ?? ""
        return [
            HostFact(
                "governor", HostFile.text(frequency + "scaling_governor"),
                elseBecause: "the kernel does not scale the frequency here (usual in a VM)"),
            HostFact(
                "turbo", turbo, elseBecause: "neither intel_pstate nor cpufreq says"),
            HostFact("isolatedCPUs", text: isolated.isEmpty ? "none" : isolated),
            HostFact("loadAverage", HostFile.text("/proc/loadavg"), elseBecause: "cannot be read"),
            HostFact("cgroupVersion", text: CgroupVersion.detect().rawValue),
            HostFact(
                "perfEventParanoid", HostFile.integer("/proc/sys/kernel/perf_event_paranoid"),
                elseBecause: "the kernel has no perf events"),
        ]
    }

    private static var turbo: Bool? {
        if let off = HostFile.integer("/sys/devices/system/cpu/intel_pstate/no_turbo") { return off == 0 }
        return HostFile.integer("/sys/devices/system/cpu/cpufreq/boost").map { $0 != 0 }
    }

    private static var distribution: String? {
        for line in (HostFile.text("/etc/os-release") ?? "").split(separator: "\n")
        where line.hasPrefix("PRETTY_NAME=") {
            return String(line.dropFirst("PRETTY_NAME=".count).filter { $0 != "\"" })
        }
        return nil
    }

    private static var mitigations: String? {
        let folder = "/sys/devices/system/cpu/vulnerabilities"
        guard let directory = opendir(folder) else { return nil }
        defer { closedir(directory) }
        var found: [String] = []
        while let entry = readdir(directory) {
            let name = text(of: entry.pointee.d_name)
            guard !name.hasPrefix("."), let state = HostFile.text(folder + "/" + name), state != "Not affected"
            else { continue }
            found.append("\(name): \(state)")
        }
        return found.isEmpty ? "not affected by any known to the kernel" : found.sorted().joined(separator: "; ")
    }

    /// A C string in a fixed array.
    private static func text<T>(of tuple: T) -> String {
        withUnsafeBytes(of: tuple) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

/// Which control-group tree is mounted.
enum CgroupVersion: String {
    case none = "none"
    case v1 = "v1"
    /// v1 controllers, with a v2 tree beside them.
    case hybrid = "v1 with an unused v2 tree"
    case v2 = "v2"

    static func detect() -> CgroupVersion {
        if HostFile.exists("/sys/fs/cgroup/cgroup.controllers") { return .v2 }
        if HostFile.exists("/sys/fs/cgroup/unified/cgroup.procs") { return .hybrid }
        return HostFile.exists("/sys/fs/cgroup/cpu") || HostFile.exists("/sys/fs/cgroup/memory") ? .v1 : .none
    }
}
