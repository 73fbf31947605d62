import Glibc

/// A system call that failed, and what it was for.
public struct HostError: Error, Equatable, Sendable, CustomStringConvertible {
    public var operation: String
    public var code: Int32

    /// Takes the thread's errno unless told another: create it right after the failing call.
    public init(_ operation: String, code: Int32 = errno) {
        self.operation = operation
        self.code = code
    }

    public var description: String { "\(operation): \(String(cString: strerror(code))) (errno \(code))" }
}
