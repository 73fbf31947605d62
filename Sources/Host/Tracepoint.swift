import Glibc

/// A tracepoint of the running kernel: its number and where its records have their fields.
///
/// Both are the kernel's own to choose, and are read from tracefs (Documentation/trace/events.rst, section 2.2).
public struct Tracepoint: Sendable, Equatable {
    /// One field of a record.
    public struct Field: Sendable, Equatable {
        /// Bytes from the record's start.
        public var offset: Int
        /// Bytes.
        public var size: Int
    }

    /// `system:event`, as perf(1) writes it.
    public var name: String
    /// Number for `perf_event_open`, also in the first two bytes of each record.
    public var id: UInt16
    public var fields: [String: Field]

    /// Why a tracepoint cannot be used, and the remedy.
    public struct Unavailable: Error, Equatable, CustomStringConvertible {
        public var reason: String
        public var remedy: String

        public init(reason: String, remedy: String) {
            self.reason = reason
            self.remedy = remedy
        }

        public var description: String { "\(reason); \(remedy)" }
    }

    /// Where tracefs is usually mounted.
    static let roots = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]

    /// Looks `system:event` up in tracefs.
    ///
    /// - Throws: `Unavailable` where there is no tracefs, where this user may not read it, and where this kernel has no such
    ///   tracepoint.
    public init(system: String, event: String) throws(Unavailable) {
        try self.init(system: system, event: event, roots: Self.roots)
    }

    init(system: String, event: String, roots: [String]) throws(Unavailable) {
        var problem = Unavailable(
            reason: "there is no tracefs", remedy: "`mount -t tracefs nodev /sys/kernel/tracing` as root")
        for root in roots {
            let descriptor = open("\(root)/events/\(system)/\(event)/format", O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else {
                problem = Self.worse(problem, Self.problem(errno, root, "\(system):\(event)"))
                continue
            }
            close(descriptor)
            guard let text = HostFile.text("\(root)/events/\(system)/\(event)/format"),
                let parsed = Tracepoint(name: "\(system):\(event)", format: text)
            else {
                throw Unavailable(
                    reason: "\(root)/events/\(system)/\(event)/format is not in the form that vbench knows",
                    remedy: "please report it with the file's text")
            }
            self = parsed
            return
        }
        throw problem
    }

    /// From the text of a `format` file; nil where it has no number or no fields.
    init?(name: String, format: String) {
        var id: UInt16?
        var fields: [String: Field] = [:]
        for line in format.split(whereSeparator: \.isNewline) {
            if line.hasPrefix("ID:") {
                id = UInt16(line.dropFirst(3).drop { $0 == " " })
            } else if line.drop(while: { $0 == "\t" || $0 == " " }).hasPrefix("field:") {
                guard let (name, field) = Self.field(line) else { return nil }
                fields[name] = field
            }
        }
        guard let id, !fields.isEmpty else { return nil }
        self.name = name
        self.id = id
        self.fields = fields
    }

    /// `field:__u8 insn[15];	offset:21;	size:15;	signed:0;`
    private static func field(_ line: Substring) -> (String, Field)? {
        let parts = line.split(separator: ";").map { $0.drop { $0 == "\t" || $0 == " " } }
        guard let declaration = parts.first?.dropFirst("field:".count),
            let name = declaration.split(separator: " ").last?.prefix(while: { $0 != "[" }), !name.isEmpty
        else { return nil }
        func number(_ key: String) -> Int? {
            parts.first { $0.hasPrefix(key) }.flatMap { Int($0.dropFirst(key.count)) }
        }
        // A record is at most a page; what lies outside of it would be read from elsewhere.
        guard let offset = number("offset:"), let size = number("size:"), 0...4096 ~= offset, 0...4096 ~= size else {
            return nil
        }
        return (String(name), Field(offset: offset, size: size))
    }

    private static func problem(_ code: Int32, _ root: String, _ name: String) -> Unavailable? {
        switch code {
        case EACCES, EPERM:
            Unavailable(reason: "\(root) is not readable for this user", remedy: "run as root")
        case ENOENT where HostFile.exists(root + "/events"):
            Unavailable(
                reason: "this kernel has no tracepoint \(name)", remedy: "load the module that it belongs to, if any")
        case ENOENT, ENOTDIR: nil
        default:
            Unavailable(reason: "\(root): \(String(cString: strerror(code)))", remedy: "see tracefs in `mount`")
        }
    }

    /// What was found out at one place says more than that nothing was at another.
    private static func worse(_ old: Unavailable, _ new: Unavailable?) -> Unavailable { new ?? old }
}
