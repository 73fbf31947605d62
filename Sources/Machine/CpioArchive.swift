/// Why something cannot be put into an archive.
public enum CpioArchiveError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The path is not absolute, empty, has a `..` or a zero byte.
    case invalidPath(String)
    /// There already is something else at the path.
    case occupied(String)
    /// The format has 32 bits for a file's size.
    case tooLarge(path: String, bytes: Int)

    public var description: String {
        switch self {
        case .invalidPath(let path):
            "\(path.debugDescription) is no path in a guest: it must be absolute, without '..' and zero bytes"
        case .occupied(let path): "two different things are to be placed at \(path) in the guest"
        case .tooLarge(let path, let bytes): "\(path): \(bytes) bytes do not fit into a cpio archive (limit 4 GiB)"
        }
    }
}

/// Writes a file tree as a cpio archive in the "newc" format, the one Linux takes as initramfs (Linux
/// Documentation/driver-api/early-userspace/buffer-format.rst; cpio(5), "New ASCII Format").
///
/// Paths are absolute; missing parent directories are added. Times, owners and inode numbers depend on the entries
/// alone, so that the same tree gives the same bytes.
public struct CpioArchive: Sendable {
    private enum Kind: UInt32 {
        case directory = 0o040000
        case file = 0o100000
        case symbolicLink = 0o120000
    }

    /// Of every entry, in seconds since 1970: the beginning of 2000. Programs take 0 for a time that is not known.
    public static let modificationTime: UInt32 = 946_684_800

    private var bytes: [UInt8] = []
    private var entries: [String: Kind] = [:]

    public init() {}

    /// Adds a directory; one that is already there stays as it is.
    public mutating func addDirectory(_ path: String, mode: UInt32 = 0o755) throws(CpioArchiveError) {
        let name = try Self.name(of: path)
        guard !name.isEmpty else { return }
        if let kind = entries[name] {
            guard kind == .directory else { throw .occupied(path) }
            return
        }
        try addParents(of: name)
        append(name, .directory, mode, [])
    }

    /// Adds a regular file. `mode` holds the permission bits.
    public mutating func addFile(_ path: String, contents: [UInt8], mode: UInt32 = 0o644) throws(CpioArchiveError) {
        guard contents.count <= Int(UInt32.max) else { throw .tooLarge(path: path, bytes: contents.count) }
        try append(leaf: path, .file, mode, contents)
    }

    /// Adds a symbolic link that leads to `target`, absolute or relative.
    public mutating func addSymbolicLink(_ path: String, target: String) throws(CpioArchiveError) {
        guard !target.isEmpty, !target.utf8.contains(0) else { throw .invalidPath(target) }
        try append(leaf: path, .symbolicLink, 0o777, Array(target.utf8))
    }

    /// The whole archive; more can be added afterwards to another copy. Consumes this one, so that its bytes are not copied where it
    /// is not used again.
    public consuming func finished() -> [UInt8] {
        appendEntry("TRAILER!!!", mode: 0, links: 1, inode: 0, [])
        return bytes
    }

    private mutating func append(
        leaf path: String, _ kind: Kind, _ mode: UInt32, _ contents: [UInt8]
    ) throws(CpioArchiveError) {
        let name = try Self.name(of: path)
        guard !name.isEmpty else { throw .invalidPath(path) }
        guard entries[name] == nil else { throw .occupied(path) }
        try addParents(of: name)
        append(name, kind, mode, contents)
    }

    private mutating func addParents(of name: String) throws(CpioArchiveError) {
        guard let slash = name.lastIndex(of: "/") else { return }
        try addDirectory("/" + name[..<slash])
    }

    private mutating func append(_ name: String, _ kind: Kind, _ mode: UInt32, _ contents: [UInt8]) {
        entries[name] = kind
        appendEntry(
            name, mode: kind.rawValue | mode & 0o7777, links: kind == .directory ? 2 : 1,
            inode: UInt32(entries.count), contents)
    }

    /// One entry: 6 bytes of magic, 13 fields of 8 hexadecimal digits, the name with its zero byte, the contents;
    /// name and contents each padded to 4 bytes.
    private mutating func appendEntry(
        _ name: String, mode: UInt32, links: UInt32, inode: UInt32, _ contents: [UInt8]
    ) {
        bytes.reserveCapacity(bytes.count + contents.count + name.utf8.count + 120)
        bytes.append(contentsOf: "070701".utf8)
        let size = UInt32(contents.count)
        let nameSize = UInt32(name.utf8.count + 1)
        // Inode, mode, owner, group, links, time, size, device (2), special device (2), name size, checksum.
        for field in [inode, mode, 0, 0, links, Self.modificationTime, size, 0, 0, 0, 0, nameSize, 0] {
            appendHexadecimal(field)
        }
        bytes.append(contentsOf: name.utf8)
        bytes.append(0)
        pad()
        bytes.append(contentsOf: contents)
        pad()
    }

    private mutating func appendHexadecimal(_ value: UInt32) {
        for shift in stride(from: UInt32(28), through: 0, by: -4) {
            let digit = UInt8(truncatingIfNeeded: value >> shift & 15)
            bytes.append(digit < 10 ? digit + UInt8(ascii: "0") : digit - 10 + UInt8(ascii: "A"))
        }
    }

    private mutating func pad() {
        while bytes.count % 4 != 0 { bytes.append(0) }
    }

    /// The path as archives have it: no leading, doubled or trailing slashes, no `.` components. Empty for the root.
    private static func name(of path: String) throws(CpioArchiveError) -> String {
        guard path.utf8.first == UInt8(ascii: "/"), !path.utf8.contains(0) else { throw .invalidPath(path) }
        let parts = path.split(separator: "/").filter { $0 != "." }
        guard !parts.contains("..") else { throw .invalidPath(path) }
        return parts.joined(separator: "/")
    }
}
