import Glibc

/// The processes of one session: a trial's child and everything that it started.
public enum ProcessSession {
    private struct Member {
        var pid: pid_t
        var parent: pid_t
        var session: pid_t
        var isZombie: Bool
    }

    /// Kills every process of `session` but the caller, however they are related, and waits until they are gone
    /// (at most a second: a process stuck in the kernel cannot be waited for).
    ///
    /// A program may fork faster than one look at /proc, so this looks until nothing is left.
    ///
    /// - Parameter parent: children of this process are killed too, whatever session they went to.
    public static func killAll(session: pid_t, childrenOf parent: pid_t? = nil) {
        let own = getpid()
        for round in 0..<200 {
            let members = all().filter { $0.pid != own && ($0.session == session || $0.parent == parent) }
            for member in members where !member.isZombie { kill(member.pid, SIGKILL) }
            // Orphans come to the lab and its children (subreapers): take their exit status, or they stay as zombies.
            let left = members.filter { !$0.isZombie || (waitpid($0.pid, nil, WNOHANG) == 0) }
            if left.isEmpty { return }
            if round > 0 { usleep(5_000) }
        }
    }

    private static func all() -> [Member] {
        guard let folder = opendir("/proc") else { return [] }
        defer { closedir(folder) }
        var found: [Member] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let pid = pid_t(name), let stat = try? Descriptor(opening: "/proc/\(pid)/stat", flags: O_RDONLY),
                let text = try? stat.read(upTo: 1024)
            else { continue }
            // proc_pid_stat(5): pid (comm) state ppid pgrp session …; comm may hold anything, so start after its end.
            guard let end = text.lastIndex(of: UInt8(ascii: ")")) else { continue }
            let fields = text[(end + 1)...].split(separator: UInt8(ascii: " ")).prefix(4)
                .map { String(decoding: $0, as: UTF8.self) }
            guard fields.count == 4, let parent = pid_t(fields[1]), let session = pid_t(fields[3]) else { continue }
            found.append(Member(pid: pid, parent: parent, session: session, isZombie: fields[0] == "Z"))
        }
        return found
    }
}
