import FoundationEssentials
import Glibc

/// Why files of the host cannot become part of a guest's tree.
public enum HostTreeError: Error, Equatable, CustomStringConvertible {
    case missing(path: String)
    case unreadable(path: String, reason: String)
    /// A device, pipe or socket.
    case special(path: String, what: String)

    public var description: String {
        switch self {
        case .missing(let path): "\(path): no such file or folder"
        case .unreadable(let path, let reason): "\(path): cannot be read: \(reason)"
        case .special(let path, let what):
            "\(path): \(what), which cannot be put into a guest; only files, folders and symbolic links can"
        }
    }
}

/// A file or folder of the host as entries of a guest's tree.
public enum HostTree {
    /// The file at `host`, or the folder with everything below it, at `guest`.
    ///
    /// Permissions are kept. Symbolic links inside a folder stay links, with the target they have; `host` itself may be one, and is
    /// followed. Owners and times are not kept: everything in a guest belongs to root. Entries are in the order of their paths.
    ///
    /// - Throws: `HostTreeError` for the first thing that cannot be taken along.
    public static func entries(host: String, guest: String) throws(HostTreeError) -> [GuestFile] {
        var status = stat()
        guard stat(host, &status) == 0 else { throw failure(host) }
        return try entries(host: host, guest: guest, status)
    }

    /// One file, and where its path ends in symbolic links, these as well, each at its own path.
    ///
    /// - Throws: `HostTreeError` when the links lead to no regular file.
    static func chain(host: String, guest: String) throws(HostTreeError) -> [GuestFile] {
        var found: [GuestFile] = []
        var (host, guest) = (host, guest)
        while found.count <= 40, let target = linkTarget(host) {
            found.append(
                GuestFile(hostPath: host, guestPath: guest, kind: .symbolicLink(target: target), mode: 0o777))
            host = GuestPath.resolve(target, from: host)
            guest = GuestPath.resolve(target, from: guest)
        }
        var status = stat()
        guard lstat(host, &status) == 0 else { throw failure(host) }
        return found + (try entries(host: host, guest: guest, status))
    }

    private static func entries(
        host: String, guest: String, _ status: stat
    ) throws(HostTreeError) -> [GuestFile] {
        let mode = UInt16(status.st_mode & 0o7777)
        switch status.st_mode & S_IFMT {
        case S_IFREG:
            guard access(host, R_OK) == 0 else { throw failure(host) }
            return [GuestFile(hostPath: host, guestPath: guest, kind: .file, mode: mode)]
        case S_IFDIR:
            var found = [GuestFile(hostPath: host, guestPath: guest, kind: .folder, mode: mode)]
            let names: [String]
            do { names = try FileManager.default.contentsOfDirectory(atPath: host).sorted() } catch {
                throw failure(host)
            }
            for name in names {
                let path = host == "/" ? "/" + name : host + "/" + name
                var below = stat()
                guard lstat(path, &below) == 0 else { throw failure(path) }
                found += try entries(host: path, guest: guest == "/" ? "/" + name : guest + "/" + name, below)
            }
            return found
        case S_IFLNK:
            guard let target = linkTarget(host) else { throw failure(host) }
            return [GuestFile(hostPath: host, guestPath: guest, kind: .symbolicLink(target: target), mode: 0o777)]
        case S_IFCHR, S_IFBLK: throw .special(path: host, what: "a device")
        case S_IFIFO: throw .special(path: host, what: "a named pipe")
        default: throw .special(path: host, what: "a socket")
        }
    }

    /// Where the symbolic link at `path` leads; nil where there is none, or it cannot be read.
    static func linkTarget(_ path: String) -> String? {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(path, &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self) : nil
    }

    private static func failure(_ path: String) -> HostTreeError {
        let code = errno
        return code == ENOENT || code == ENOTDIR
            ? .missing(path: path) : .unreadable(path: path, reason: String(cString: strerror(code)))
    }
}
