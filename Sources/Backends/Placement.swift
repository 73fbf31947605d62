import CLinux

/// On which CPUs and from which memory this process runs.
public enum Placement {
    /// The CPUs that this process was given, ascending: what the user (taskset, a container) allows.
    public static let allowedCPUs: [Int] = {
        var cpus = [Int32](repeating: 0, count: 8192)
        let count = clinux_allowed_cpus(&cpus, Int32(cpus.count))
        return cpus.prefix(max(0, Int(count))).map(Int.init)
    }()

    /// Pins the calling thread, and threads it starts later, to one CPU.
    public static func pin(to cpu: Int) throws(SystemError) {
        let allowed = allowedCPUs.map(String.init).joined(separator: ", ")
        let status = clinux_pin_to_cpu(Int32(cpu))
        guard status == 0 else {
            throw SystemError("pin to CPU \(cpu) (this process may use \(allowed))", code: status)
        }
    }

    /// Whether this process may use a CPU that it was not given, e.g. an isolated one.
    public static func canRun(on cpu: Int) -> Bool {
        let before = allowedCPUs.map(Int32.init)
        guard clinux_pin_to_cpu(Int32(cpu)) == 0 else { return false }
        return clinux_run_on_cpus(before, Int32(before.count)) == 0
    }

    /// Moves the calling thread to the other CPUs it was given; stays when there is no other.
    static func leave(cpu: Int) {
        let others = allowedCPUs.filter { $0 != cpu }.map(Int32.init)
        if !others.isEmpty { _ = clinux_run_on_cpus(others, Int32(others.count)) }
    }

    /// Takes this thread's memory from one NUMA node only.
    public static func bindMemory(toNode node: Int) throws(SystemError) {
        let status = clinux_bind_memory_to_node(Int32(node))
        guard status == 0 else { throw SystemError("take memory from NUMA node \(node)", code: status) }
    }
}
