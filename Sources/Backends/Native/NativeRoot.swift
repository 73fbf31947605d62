import CLinux

/// How a native program comes to see its file tree at the same paths as in a VM.
enum NativeRoot: Sendable, Equatable {
    /// The scratch folder becomes `/`: this process may change its root.
    case changed
    /// The scratch folder becomes `/` in a new user namespace, without privileges.
    case namespace
    /// Neither is allowed here: paths in arguments and environment are rewritten to where the files are.
    case rewrittenPaths

    /// The first of the three that works here; tried out in a child process.
    static func best(for root: String) -> NativeRoot {
        if clinux_try_root(Int32(clinux_root_change.rawValue), root) == 0 { return .changed }
        if clinux_try_root(Int32(clinux_root_namespace.rawValue), root) == 0 { return .namespace }
        return .rewrittenPaths
    }

    var mode: Int32 {
        switch self {
        case .changed: Int32(clinux_root_change.rawValue)
        case .namespace: Int32(clinux_root_namespace.rawValue)
        case .rewrittenPaths: Int32(clinux_root_host.rawValue)
        }
    }

    var description: String {
        switch self {
        case .changed: "files in a private root (chroot)"
        case .namespace: "files in a private root (user namespace)"
        case .rewrittenPaths: "no private root allowed here: file paths in arguments are rewritten"
        }
    }
}

/// Rewrites the paths of known files wherever they stand in an argument as whole paths.
struct PathRewriter {
    /// From the program's path to the host's.
    let paths: [(guest: String, host: String)]

    init(_ paths: [(guest: String, host: String)]) {
        // Longest first: `/data/x.txt` before `/data/x`.
        self.paths = paths.sorted { $0.guest.utf8.count > $1.guest.utf8.count }
    }

    func rewrite(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var index = 0
        scan: while index < bytes.count {
            if bytes[index] == UInt8(ascii: "/"), index == 0 || !Self.isPathByte(bytes[index - 1]) {
                for path in paths where bytes[index...].starts(with: path.guest.utf8) {
                    let end = index + path.guest.utf8.count
                    guard end == bytes.count || !Self.isPathByte(bytes[end]) else { continue }
                    result += path.host.utf8
                    index = end
                    continue scan
                }
            }
            result.append(bytes[index])
            index += 1
        }
        return String(decoding: result, as: UTF8.self)
    }

    private static func isPathByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "/"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "-"), 0x80...0xFF:
            true
        default: false
        }
    }
}
