import SoftwareVMM

/// What of a guest's execution is to be written down (`vbench exec --trace`).
public struct TraceRequest: Codable, Sendable, Equatable {
    public typealias Kind = ExecutionTracer.Kind

    public var kind: Kind
    /// `A-B`, two hexadecimal guest addresses, or the name of a function of the kernel or the program; nil: everything.
    public var range: String?
    /// File that the trace goes to; nil: standard error.
    public var path: String?

    public init(kind: Kind, range: String? = nil, path: String? = nil) {
        self.kind = kind
        self.range = range
        self.path = path
    }
}
