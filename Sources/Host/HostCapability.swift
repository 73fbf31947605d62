import CLinux
import Glibc

/// Something that a host may offer, and what its absence means.
public struct HostCapability: Codable, Sendable, Equatable {
    /// Never changes meaning between versions.
    public var name: String
    public var present: Bool
    /// What was found, or why it is absent.
    public var detail: String
    /// What vbench does without it, and what the person can do; nil when present.
    public var remedy: String?

    private init(_ name: String, _ found: (present: Bool, detail: String), without remedy: String) {
        self.name = name
        present = found.present
        detail = found.detail
        self.remedy = found.present ? nil : remedy
    }

    /// Looks for each capability now.
    static func all() -> [HostCapability] { virtualization + measuring + softwareVMM + placement }

    private static var virtualization: [HostCapability] {
        [
            HostCapability(
                "kvm", kvm,
                without: "the kvm backend is not available; use a host with virtualization enabled, or"
                    + " --device /dev/kvm in a container, and membership in the group that owns /dev/kvm"),
            HostCapability(
                "kvmHardwareAssist", hardwareAssist,
                without: "KVM figures here say nothing of VT-x or AMD-V; run on a host that offers them"),
            HostCapability(
                "kvmTracepoints", tracepoints,
                without: "exits that KVM handles in the kernel are counted but not timed; with tracefs mounted at"
                    + " /sys/kernel/tracing, run as root, or let this user read it and"
                    + " `sysctl kernel.perf_event_paranoid=-1`"),
        ]
    }

    private static var measuring: [HostCapability] {
        let paranoid = HostFile.text("/proc/sys/kernel/perf_event_paranoid") ?? "?"
        let lower = "`sysctl kernel.perf_event_paranoid=1` (now \(paranoid)) or CAP_PERFMON"
        return [
            HostCapability(
                "invariantTSC", answer(TimestampCounter.isInvariant, "CPUID 0x80000007 EDX bit 8"),
                without: "cycle counts are no measure of time on this CPU: distrust every figure taken in a guest"),
            HostCapability(
                "tscClocksource", clocksource,
                without: "the kernel distrusts this TSC; see `dmesg | grep -i tsc`"),
            HostCapability(
                "perfSoftwareEvents", perf(PERF_TYPE_SOFTWARE, UInt64(PERF_COUNT_SW_TASK_CLOCK.rawValue)),
                without: "no software event counts in reports; \(lower)"),
            HostCapability(
                "perfHardwareEvents", perf(PERF_TYPE_HARDWARE, UInt64(PERF_COUNT_HW_INSTRUCTIONS.rawValue)),
                without: "no instruction, cache or branch counts in reports; needs a PMU (in a VM, a virtual one) and"
                    + " \(lower)"),
            HostCapability(
                "cacheMonitoring",
                answer(HostFile.exists("/sys/fs/resctrl/info"), "resctrl at /sys/fs/resctrl", "resctrl is not mounted"),
                without: "no cache occupancy or memory bandwidth figures; on a CPU with RDT or PQOS,"
                    + " `mount -t resctrl resctrl /sys/fs/resctrl`"),
            HostCapability(
                "energyCounters",
                answer(HostFile.exists("/sys/class/powercap/intel-rapl:0"), "RAPL in powercap", "no powercap zone"),
                without: "no energy figures; usual in a VM"),
        ]
    }

    private static var softwareVMM: [HostCapability] {
        [
            HostCapability(
                "syscallUserDispatch", asked(clinux_probe_syscall_user_dispatch()),
                without: "the software backend cannot run ring 3 directly; needs Linux 5.11 or later"),
            HostCapability(
                "fsgsbase", asked(clinux_probe_fsgsbase()),
                without: "the software backend switches segment bases by slow system calls; needs Linux 5.9 on a CPU"
                    + " that has FSGSBASE"),
            HostCapability(
                "cpuidFaulting", asked(clinux_probe_cpuid_faulting()),
                without: "guests of the software backend see the host's CPUID in ring 3; needs an Intel CPU from Ivy"
                    + " Bridge or an AMD CPU from Zen 4 on"),
            HostCapability(
                "userfaultfd", asked(clinux_probe_userfaultfd()),
                without: "guest memory cannot be filled on demand; `sysctl vm.unprivileged_userfaultfd=1` or Linux 5.11"
            ),
            HostCapability(
                "protectionKeys", asked(clinux_probe_protection_keys()),
                without:
                    "the software backend's own memory is not keyed off while guest code runs; needs a CPU with PKU"),
            HostCapability(
                "seccompKillProcess", asked(clinux_probe_seccomp_kill()),
                without: "VMM processes cannot be jailed and do not start; needs Linux 4.14 with seccomp filters"),
        ]
    }

    private static var placement: [HostCapability] {
        let governor = HostFile.text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
        return [
            HostCapability(
                "cgroupV2", answer(CgroupVersion.detect() == .v2, "v2", CgroupVersion.detect().rawValue),
                without: "VMs are not confined by CPU and memory controllers; boot with"
                    + " systemd.unified_cgroup_hierarchy=1"),
            HostCapability(
                "isolatedCPUs",
                answer(
                    HostFile.text("/sys/devices/system/cpu/isolated")?.isEmpty == false,
                    HostFile.text("/sys/devices/system/cpu/isolated") ?? "", "none"),
                without: "other processes disturb trials: expect wider confidence intervals; boot with isolcpus="),
            HostCapability(
                "fixedFrequency",
                answer(
                    governor == nil || governor == "performance", governor ?? "no frequency scaling visible",
                    "governor \(governor ?? "unknown")"),
                without: "frequency changes add noise; `cpupower frequency-set -g performance`"),
        ]
    }

    // MARK: - Probes

    private static func answer(_ present: Bool, _ yes: String, _ no: String = "absent") -> (Bool, String) {
        (present, present ? yes : no)
    }

    private static func asked(_ code: Int32) -> (Bool, String) {
        code == 0 ? (true, "offered") : (false, "the kernel says: \(String(cString: strerror(code)))")
    }

    private static var kvm: (Bool, String) {
        guard let device = FileDescriptor.open("/dev/kvm", O_RDWR) else {
            return (false, "/dev/kvm: \(String(cString: strerror(errno)))")
        }
        return (true, "\(KVMFlavour.detect().detail), API version \(clinux_kvm_api_version(device.rawValue))")
    }

    private static var hardwareAssist: (Bool, String) {
        let flavour = KVMFlavour.detect()
        guard HostFile.exists("/dev/kvm") else {
            let flag = ["vmx", "svm"].first(where: HostCPU.flags.contains)
            return (false, flag.map { "the CPU has \($0), but there is no /dev/kvm" } ?? "no vmx, no svm, no /dev/kvm")
        }
        return (flavour.isHardwareAssisted, flavour.detail)
    }

    /// Whether this user may count and record the events of its own threads.
    private static var tracepoints: (Bool, String) {
        // Flavour pvm has no exits of the CPU; what it emulates takes their place.
        let event = KVMFlavour.detect() == .pvm ? "kvm_emulate_insn" : "kvm_exit"
        do throws(Tracepoint.Unavailable) {
            let point = try Tracepoint(system: "kvm", event: event)
            _ = try TracepointCounter(point)
            return (true, "\(point.name) and others, recorded by thread")
        } catch { return (false, error.reason) }
    }

    private static var clocksource: (Bool, String) {
        let name = HostFile.text("/sys/devices/system/clocksource/clocksource0/current_clocksource") ?? "unknown"
        // kvm-clock is built on a TSC that the hypervisor vouches for.
        return (name == "tsc" || name == "kvm-clock", name)
    }

    private static func perf(_ type: perf_type_id, _ config: UInt64) -> (Bool, String) {
        for excludesKernel: Int32 in [0, 1] {
            let raw = clinux_perf_open(UInt32(type.rawValue), config, 0, excludesKernel)
            guard raw >= 0 else { continue }
            close(raw)
            return (true, excludesKernel == 0 ? "user and kernel" : "user code only")
        }
        return (false, "perf_event_open: \(String(cString: strerror(errno)))")
    }
}
