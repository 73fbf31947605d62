import Backends
import Glibc

/// Which CPUs of this host trials run on.
public struct CPUPlacement: Sendable, Equatable {
    /// Where every trial runs that does not ask for another CPU.
    public var measured: Int
    /// Where an aggressor runs that is to be on a different CPU; nil when this host has only one.
    public var other: Int?
    /// Why `measured` was taken, for reports.
    public var reason: String

    /// Chooses: an isolated CPU where there is one, else the last that this process may use (the first ones serve most
    /// interrupts); for the other one a different core before a sibling thread.
    ///
    /// - Throws: `SystemError` when `requested` cannot be used.
    public static func choose(requested: Int? = nil) throws(SystemError) -> CPUPlacement {
        let allowed = Placement.allowedCPUs
        let isolated = cpuList(at: "/sys/devices/system/cpu/isolated").filter(Placement.canRun)
        let candidates = allowed + isolated.filter { !allowed.contains($0) }
        let measured: Int
        let reason: String
        if let requested {
            guard candidates.contains(requested) || Placement.canRun(on: requested) else {
                let list = candidates.map(String.init).joined(separator: ", ")
                throw SystemError("use CPU \(requested) (this process may use \(list))", code: EINVAL)
            }
            (measured, reason) = (requested, "asked for")
        } else if let last = isolated.last {
            (measured, reason) = (last, "isolated from the scheduler")
        } else {
            (measured, reason) = (allowed.last ?? 0, "last CPU this process may use; none is isolated")
        }
        return make(measured: measured, reason: reason, candidates: candidates, siblings: siblings(of: measured))
    }

    static func make(measured: Int, reason: String, candidates: [Int], siblings: [Int]) -> CPUPlacement {
        let others = candidates.filter { $0 != measured }
        let other = others.last { !siblings.contains($0) } ?? others.last
        return CPUPlacement(measured: measured, other: other, reason: reason)
    }

    /// Threads that share a core with `cpu`, itself included.
    private static func siblings(of cpu: Int) -> [Int] {
        cpuList(at: "/sys/devices/system/cpu/cpu\(cpu)/topology/thread_siblings_list")
    }

    private static func cpuList(at path: String) -> [Int] {
        guard let file = try? Descriptor(opening: path, flags: O_RDONLY), let bytes = try? file.readToEnd() else {
            return []
        }
        return parse(cpuList: String(decoding: bytes, as: UTF8.self))
    }

    /// The kernel's list format: `0-3,8`.
    static func parse(cpuList text: String) -> [Int] {
        text.split(whereSeparator: { $0 == "," || $0 == "\n" }).flatMap { range -> [Int] in
            let ends = range.split(separator: "-").compactMap { Int($0) }
            guard let first = ends.first, let last = ends.last, first <= last else { return [] }
            return Array(first...last)
        }
    }
}
