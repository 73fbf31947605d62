import Foundation

/// Writes files that appear whole or not at all.
public enum AtomicFile {
    /// Writes `contents` under a temporary name in the same folder, flushes it to the disk and renames it over `path`.
    ///
    /// Devices and pipes (`/dev/stdout`) are written directly. On failure the temporary file is removed, and a file
    /// that was at `path` is as it was.
    ///
    /// - Throws: `FileError` that says which step failed and what to do.
    public static func write(_ contents: Data, to path: String) throws(FileError) {
        try write(contents, to: path) { Foundation.write($0, $1, $2) }
    }

    /// write(2), or what a test puts in its place: descriptor, bytes, count; the count written, or −1 and `errno`.
    typealias Writer = (Int32, UnsafeRawPointer, Int) -> Int

    static func write(_ contents: Data, to path: String, by writer: Writer) throws(FileError) {
        var status = stat()
        if stat(path, &status) == 0 {
            switch status.st_mode & S_IFMT {
            case S_IFREG: break
            case S_IFDIR:
                throw FileError(path: path, action: "write", code: EISDIR)
            default:
                try writeDirectly(contents, to: path, by: writer)
                return
            }
        }
        let url = URL(fileURLWithPath: path)
        let unique = "\(getpid()).\(UInt32.random(in: 0 ... .max))"
        let name = ".\(url.lastPathComponent).\(unique).tmp"
        let temporary = url.deletingLastPathComponent().appendingPathComponent(name).path
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw FileError(path: path, action: "write", code: errno) }
        do throws(FileError) {
            var open = true
            defer { if open { close(descriptor) } }
            try writeAll(contents, to: descriptor, path: path, by: writer)
            guard fsync(descriptor) == 0 else { throw FileError(path: path, action: "write", code: errno) }
            open = false
            guard close(descriptor) == 0 else { throw FileError(path: path, action: "write", code: errno) }
            guard rename(temporary, path) == 0 else { throw FileError(path: path, action: "rename to", code: errno) }
        } catch {
            unlink(temporary)
            throw error
        }
        syncFolder(of: url)
    }

    /// `write(_:to:)` of UTF-8 text.
    public static func write(_ text: String, to path: String) throws(FileError) {
        try write(Data(text.utf8), to: path)
    }

    private static func writeDirectly(_ contents: Data, to path: String, by writer: Writer) throws(FileError) {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(path: path, action: "write", code: errno) }
        defer { close(descriptor) }
        try writeAll(contents, to: descriptor, path: path, by: writer)
    }

    private static func writeAll(
        _ contents: Data, to descriptor: Int32, path: String, by writer: Writer
    ) throws(FileError) {
        let failure = contents.withUnsafeBytes { bytes -> Int32? in
            var written = 0
            while written < bytes.count {
                let count = writer(descriptor, bytes.baseAddress! + written, bytes.count - written)
                if count < 0 && errno == EINTR { continue }
                // A write of nothing would loop for ever.
                if count <= 0 { return count < 0 ? errno : EIO }
                written += count
            }
            return nil
        }
        if let failure { throw FileError(path: path, action: "write", code: failure) }
    }

    /// Makes the rename itself last. The file is complete already, so a folder that cannot be flushed is no failure.
    private static func syncFolder(of url: URL) {
        let descriptor = open(url.deletingLastPathComponent().path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }
}

/// A file that could not be written or read.
public struct FileError: Error, Sendable, Equatable, CustomStringConvertible {
    public var path: String
    /// What was tried: "write", "read".
    public var action: String
    /// The `errno` value.
    public var code: Int32

    public init(path: String, action: String, code: Int32) {
        self.path = path
        self.action = action
        self.code = code
    }

    /// What the person can do.
    public var suggestion: String? {
        switch code {
        case ENOSPC, EDQUOT: "the disk is full: free some space, or write elsewhere"
        case EACCES, EPERM: "check the permissions of the folder, or write elsewhere"
        case EROFS: "the file system is read-only: write elsewhere"
        case ENOENT: action == "read" ? "check the path" : "the folder does not exist: create it first"
        case ENOTDIR: "a part of the path is not a folder"
        case EISDIR: "name a file, not a folder"
        case EFBIG: action == "read" ? "is this the right file?" : "a file size limit is set (ulimit -f)"
        default: nil
        }
    }

    public var description: String {
        let text = "cannot \(action) \(path): \(String(cString: strerror(code)))"
        return suggestion.map { text + "; " + $0 } ?? text
    }
}
