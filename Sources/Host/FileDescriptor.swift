import Glibc

/// Owns an open file descriptor and closes it when it goes away.
public struct FileDescriptor: ~Copyable {
    public let rawValue: Int32

    /// Takes ownership of `rawValue`, which must be open.
    public init(owning rawValue: Int32) { self.rawValue = rawValue }

    deinit { close(rawValue) }

    /// Opens `path` with O_CLOEXEC added to `flags`; nil with errno set on failure.
    public static func open(_ path: String, _ flags: Int32) -> FileDescriptor? {
        let descriptor = Glibc.open(path, flags | O_CLOEXEC)
        return descriptor >= 0 ? FileDescriptor(owning: descriptor) : nil
    }
}
