import Glibc

/// Small text files of /proc and /sys.
enum HostFile {
    /// The file without trailing white space, at most 64 KiB; nil when it cannot be read.
    static func text(_ path: String) -> String? {
        guard let file = FileDescriptor.open(path, O_RDONLY) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 65536)
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes { buffer in
                read(file.rawValue, buffer.baseAddress! + filled, buffer.count - filled)
            }
            if count <= 0 { break }
            filled += count
        }
        var text = Substring(String(decoding: bytes[..<filled], as: UTF8.self))
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }

    static func integer(_ path: String) -> Int64? { text(path).flatMap { Int64($0) } }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func isReadable(_ path: String) -> Bool { access(path, R_OK) == 0 }

    /// The chosen word of a "a [b] c" selection file.
    static func selection(_ path: String) -> String? {
        guard let text = text(path), let open = text.firstIndex(of: "["),
            let close = text[open...].firstIndex(of: "]")
        else { return nil }
        return String(text[text.index(after: open)..<close])
    }
}
