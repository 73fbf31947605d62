import Glibc
import Machine

/// One look at a VM that runs now.
struct RunningMachine: Equatable {
    /// Tells a process from a later one with the same number.
    struct Identity: Hashable {
        var pid: Int32
        /// Clock ticks after boot (proc_pid_stat(5), field 22).
        var startTicks: UInt64
    }

    var identity: Identity
    var ledger: LiveLedger.Snapshot
    /// User and system time of the process, in clock ticks; the guest's is in it.
    var processorTicks: UInt64
    /// Resident memory of the process in bytes.
    var residentBytes: UInt64
    /// Guest RAM that the host has backed with memory so far, in bytes; nil where that is not to be seen.
    var guestBytes: UInt64?
}

/// Finds this user's VMs: processes that hold a live ledger.
///
/// Everything found is a claim of another process of this user, which runs a hostile guest: sizes and contents are checked.
struct MachineScanner {
    /// Processes of this user that could not be looked into at the last scan.
    private(set) var unreadable = 0
    /// Looked at, and no VM then. They are looked at again after some scans, as one may become a VM.
    private var others: [RunningMachine.Identity: Int] = [:]
    private var scans = 0
    private static let scansBetweenLooks = 5

    private let folder: String
    private let user: UInt32

    init(procFolder: String = "/proc", user: UInt32 = geteuid()) {
        folder = procFolder
        self.user = user
    }

    /// VMs that run now, by process number.
    mutating func scan() -> [RunningMachine] {
        scans += 1
        unreadable = 0
        var machines: [RunningMachine] = []
        var stillOthers: [RunningMachine.Identity: Int] = [:]
        for pid in processes() {
            guard let status = ProcessStatus(path: "\(folder)/\(pid)/stat") else { continue }
            let identity = RunningMachine.Identity(pid: pid, startTicks: status.startTicks)
            if let seen = others[identity], scans - seen < Self.scansBetweenLooks {
                stillOthers[identity] = seen
                continue
            }
            if let machine = machine(identity, status) {
                machines.append(machine)
            } else {
                stillOthers[identity] = scans
            }
        }
        others = stillOthers
        return machines
    }

    private func processes() -> [Int32] {
        names(in: folder).compactMap { Int32($0) }.filter { pid in
            var info = stat()
            return stat("\(folder)/\(pid)", &info) == 0 && info.st_uid == user
        }.sorted()
    }

    private mutating func machine(_ identity: RunningMachine.Identity, _ status: ProcessStatus) -> RunningMachine? {
        let descriptors = "\(folder)/\(identity.pid)/fd"
        guard access(descriptors, R_OK | X_OK) == 0 else {
            unreadable += 1
            return nil
        }
        var snapshot: LiveLedger.Snapshot?
        var guestBytes: UInt64?
        for name in names(in: descriptors) {
            let path = "\(descriptors)/\(name)"
            switch target(of: path) {
            case "/memfd:\(LiveLedger.memoryName) (deleted)": snapshot = LiveLedger.Snapshot(path: path) ?? snapshot
            case "/memfd:\(GuestMemory.memoryName) (deleted)":
                var info = stat()
                // st_blocks counts in 512 bytes (stat(2)).
                if stat(path, &info) == 0 { guestBytes = UInt64(max(0, info.st_blocks)) * 512 }
            default: break
            }
        }
        guard let snapshot else { return nil }
        return RunningMachine(
            identity: identity, ledger: snapshot, processorTicks: status.processorTicks,
            residentBytes: residentBytes(identity.pid), guestBytes: guestBytes)
    }

    /// proc_pid_statm(5): the second number is resident pages.
    private func residentBytes(_ pid: Int32) -> UInt64 {
        let fields = smallFile("\(folder)/\(pid)/statm").split(separator: " ")
        return fields.count > 1 ? (UInt64(fields[1]) ?? 0) &* 4096 : 0
    }

    private func names(in folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        return names
    }

    private func target(of link: String) -> String {
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = readlink(link, &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : ""
    }
}

/// What vbench needs of /proc/PID/stat.
struct ProcessStatus: Equatable {
    var processorTicks: UInt64
    var startTicks: UInt64

    init?(path: String) { self.init(text: smallFile(path)) }

    /// proc_pid_stat(5): pid (comm) state …; comm may hold anything, so counting starts behind its end.
    init?(text: String) {
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        // Field 3 is the first here: utime is 14, stime 15, starttime 22.
        guard fields.count > 19, let user = UInt64(fields[11]), let system = UInt64(fields[12]),
            let start = UInt64(fields[19])
        else { return nil }
        processorTicks = user &+ system
        startTicks = start
    }
}

/// The beginning of a file of /proc; empty where it cannot be read.
private func smallFile(_ path: String) -> String {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return "" }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = read(descriptor, &bytes, bytes.count)
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
}
