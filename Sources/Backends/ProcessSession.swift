import Glibc

/// The processes of one session: a trial's child and everything that it started.
public enum ProcessSession {
    /// Kills every process of `session` but the caller, however they are related, and waits until they are gone
    /// (at most a second: a process stuck in the kernel cannot be waited for).
    ///
    /// A program may fork faster than one look at /proc, so this looks until nothing is left.
    public static func killAll(session: pid_t) {
        let own = getpid()
        var killed: Set<pid_t> = []
        for round in 0..<200 {
            let living = members(of: session).filter { $0 != own }
            if living.isEmpty { break }
            for pid in living { kill(pid, SIGKILL) }
            killed.formUnion(living)
            if round > 0 { usleep(5_000) }
        }
        // Orphans come to the lab and its children (subreapers): take their exit status, or they stay as zombies.
        for pid in killed { waitpid(pid, nil, WNOHANG) }
    }

    /// Processes of the session that still run (zombies apart).
    static func members(of session: pid_t) -> [pid_t] {
        guard let folder = opendir("/proc") else { return [] }
        defer { closedir(folder) }
        var found: [pid_t] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let pid = pid_t(name), let stat = try? Descriptor(opening: "/proc/\(pid)/stat", flags: O_RDONLY),
                let text = try? stat.read(upTo: 1024)
            else { continue }
            // proc_pid_stat(5): pid (comm) state ppid pgrp session …; comm may hold anything, so start after its end.
            guard let end = text.lastIndex(of: UInt8(ascii: ")")) else { continue }
            let fields = text[(end + 1)...].split(separator: UInt8(ascii: " "))
            guard fields.count > 3, fields[0].first != UInt8(ascii: "Z") else { continue }
            if pid_t(String(decoding: fields[3], as: UTF8.self)) == session { found.append(pid) }
        }
        return found
    }
}
