import FoundationEssentials
import Glibc
import Machine
import Results

/// The program's file tree, laid out in a private folder of the host; removed with its owner.
final class ScratchTree {
    /// The folder that stands for `/`.
    let root: String
    /// Folders that must be opened again before they can be removed.
    private var lockedFolders: [String] = []

    /// Copies `files` to their places under a new folder in `TMPDIR` (else `/tmp`).
    ///
    /// Copies, not links: a program may write to its files, and every trial starts from the same tree.
    ///
    /// - Parameter program: path in the tree that `/proc/self/exe` leads to.
    init(files: [GuestFile], workingDirectory: String, program: String) throws(SystemError) {
        root = try TemporaryFolder.make("vbench-native")
        chmod(root, 0o755)
        try makeDirectory("/tmp", mode: 0o1777)
        try makeDirectory(workingDirectory)
        try makeDirectory("/proc/self")
        symlink(program, hostPath("/proc/self/exe"))
        for file in files { try place(file) }
        // Last: a folder may be one that nothing can be written into.
        for folder in files.reversed() where folder.kind == .folder && folder.guestPath != "/" {
            let path = hostPath(folder.guestPath)
            chmod(path, mode_t(folder.mode))
            if folder.mode & 0o700 != 0o700 { lockedFolders.append(path) }
        }
        try addDevices()
    }

    deinit {
        for folder in lockedFolders.reversed() { chmod(folder, 0o700) }
        try? FileManager.default.removeItem(atPath: root)
    }

    /// Where a path of the program's tree lies on the host. `..` does not lead out of the tree.
    func hostPath(_ guestPath: String) -> String {
        var parts: [Substring] = []
        for part in guestPath.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return parts.isEmpty ? root : root + "/" + parts.joined(separator: "/")
    }

    /// Creates an empty file in the tree.
    func createFile(_ guestPath: String) throws(SystemError) {
        try makeDirectory(parent(of: guestPath))
        _ = try Descriptor(opening: hostPath(guestPath), flags: O_WRONLY | O_CREAT | O_TRUNC)
    }

    /// The character devices that programs count on, by number (Linux Documentation/admin-guide/devices.txt). Where
    /// device nodes may not be made, or not be used, `/dev/null` is an empty file and the others are missing.
    private func addDevices() throws(SystemError) {
        try makeDirectory("/dev")
        let memoryDevices: dev_t = 1 << 8
        for (name, minor) in [("null", 3), ("zero", 5), ("random", 8), ("urandom", 9)] as [(String, dev_t)] {
            let path = hostPath("/dev/\(name)")
            guard access(path, F_OK) != 0 else { continue }
            if mknod(path, S_IFCHR | 0o666, memoryDevices | minor) == 0 {
                chmod(path, 0o666)
                if let device = try? Descriptor(opening: path, flags: O_RDWR) {
                    device.close()
                    continue
                }
                unlink(path)
            }
            if name == "null" { try createFile("/dev/null") }
        }
    }

    private func parent(of guestPath: String) -> String {
        guestPath.lastIndex(of: "/").map { String(guestPath[..<$0]) } ?? "/"
    }

    private func makeDirectory(_ guestPath: String, mode: mode_t = 0o755) throws(SystemError) {
        let path = hostPath(guestPath)
        guard path != root else { return }
        var end = path.index(path.startIndex, offsetBy: root.count + 1)
        while true {
            end = path[end...].firstIndex(of: "/") ?? path.endIndex
            let prefix = String(path[..<end])
            if mkdir(prefix, 0o755) != 0 && errno != EEXIST { throw SystemError("create folder \(prefix)") }
            if end == path.endIndex { break }
            end = path.index(after: end)
        }
        if mode != 0o755 { chmod(path, mode) }
    }

    private func place(_ file: GuestFile) throws(SystemError) {
        if file.kind == .folder { return try makeDirectory(file.guestPath) }
        try makeDirectory(parent(of: file.guestPath))
        let target = hostPath(file.guestPath)
        if case .symbolicLink(let leadsTo) = file.kind {
            guard symlink(leadsTo, target) == 0 else { throw SystemError("create the link \(target)") }
            return
        }
        let source = try Descriptor(opening: file.hostPath, flags: O_RDONLY)
        let copy = try Descriptor(
            opening: target, flags: O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        while true {
            let bytes = try source.read(upTo: 1 << 20) ?? []
            if bytes.isEmpty { break }
            do { try copy.write(bytes) } catch {
                throw SystemError("write \(target)", code: error.code)
            }
        }
        fchmod(copy.number, mode_t(file.mode))
        // As in a guest: gzip, for one, writes its input's time down.
        let time = timespec(tv_sec: Int(CpioArchive.modificationTime), tv_nsec: 0)
        futimens(copy.number, [time, time])
    }
}
