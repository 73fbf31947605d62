import CLinux
import Glibc

/// A failed system call: which one, on what, and why.
public struct SystemError: Error, Equatable, CustomStringConvertible {
    /// What was tried, e.g. `open /tmp/x`.
    public var operation: String
    /// The `errno` it left.
    public var code: Int32

    public init(_ operation: String, code: Int32 = errno) {
        self.operation = operation
        self.code = code
    }

    public var description: String { "\(operation): \(String(cString: strerror(code)))" }
}

/// A file descriptor that closes with its owner.
///
/// Swift lets go of an object after its last use, not at the end of the scope: whoever takes `number` out of one and
/// goes on without it must close it explicitly (`defer { descriptor.close() }`), which also keeps it open until then.
public final class Descriptor {
    /// The descriptor, or -1 once closed.
    public private(set) var number: Int32

    /// Takes over a descriptor that is already open.
    public init(owning number: Int32) { self.number = number }

    /// Opens a file; always close-on-exec.
    public init(opening path: String, flags: Int32, mode: mode_t = 0o644) throws(SystemError) {
        let number = open(path, flags | O_CLOEXEC, mode)
        guard number >= 0 else { throw SystemError("open \(path)") }
        self.number = number
    }

    deinit { close() }

    /// Closes now rather than with the owner.
    public func close() {
        if number >= 0 { Glibc.close(number) }
        number = -1
    }

    /// Reads once; nil when nothing is there now (non-blocking descriptors), empty at the end of the file.
    public func read(upTo capacity: Int) throws(SystemError) -> [UInt8]? {
        var count = -1
        let bytes = [UInt8](unsafeUninitializedCapacity: capacity) { buffer, used in
            repeat { count = Glibc.read(number, buffer.baseAddress, capacity) } while count < 0 && errno == EINTR
            used = max(0, count)
        }
        if count < 0 {
            if errno == EAGAIN { return nil }
            throw SystemError("read")
        }
        return bytes
    }

    /// Everything up to the end of the file, in one piece if it has the size expected.
    public func readToEnd(expecting size: Int = 0) throws(SystemError) -> [UInt8] {
        var all: [UInt8] = size > 0 ? try read(upTo: size) ?? [] : []
        while let bytes = try read(upTo: 1 << 16), !bytes.isEmpty { all += bytes }
        return all
    }

    /// Writes all of `bytes`.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        try writeAll(bytes, to: number)
    }

    /// Writes all of `bytes`.
    public func write(_ bytes: [UInt8]) throws(SystemError) {
        try writeAll(bytes, to: number)
    }

    public func setNonBlocking() {
        _ = fcntl(number, F_SETFL, fcntl(number, F_GETFL) | O_NONBLOCK)
    }
}

/// Writes all of `bytes` to a descriptor that someone else owns.
public func writeAll(_ bytes: [UInt8], to number: Int32) throws(SystemError) {
    var failure: SystemError?
    bytes.withUnsafeBytes { do throws(SystemError) { try writeAll($0, to: number) } catch { failure = error } }
    if let failure { throw failure }
}

/// Writes all of `bytes` to a descriptor that someone else owns.
public func writeAll(_ bytes: UnsafeRawBufferPointer, to number: Int32) throws(SystemError) {
    var rest = bytes
    while !rest.isEmpty {
        let count = Glibc.write(number, rest.baseAddress, rest.count)
        if count < 0 {
            if errno == EINTR { continue }
            throw SystemError("write")
        }
        rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
}

/// The two ends of a pipe.
public struct Pipe {
    public let reading: Descriptor
    public let writing: Descriptor

    /// Both ends close on exec.
    public init() throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        guard clinux_pipe(&ends) == 0 else { throw SystemError("pipe") }
        reading = Descriptor(owning: ends[0])
        writing = Descriptor(owning: ends[1])
    }
}
