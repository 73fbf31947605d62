import Glibc

/// The dynamic linker's cache, /etc/ld.so.cache: which file a library's name stands for.
///
/// The format is glibc's "new" one (sysdeps/generic/dl-cache.h): a header of 48 bytes, entries of 24, and strings that the
/// entries point to. Entries of one name are in the order in which the dynamic linker tries them.
public struct LibraryCache: Sendable {
    public static let path = "/etc/ld.so.cache"

    private static let magic = Array("glibc-ld.so.cache1.1".utf8)
    private static let headerBytes = 48
    private static let entryBytes = 24
    /// FLAG_ELF_LIBC6 | FLAG_X8664_LIB64.
    private static let libraryFlags: UInt32 = 0x0303

    private var paths: [String: [String]] = [:]

    /// The cache in the file at `path`; empty where there is none, or one of another format, as it is for the dynamic linker.
    public init(path: String = LibraryCache.path) {
        self.init(bytes: (try? Descriptor(opening: path, flags: O_RDONLY).readToEnd()) ?? [])
    }

    init(bytes: [UInt8]) {
        // An older format may come first; what follows it begins at a multiple of 8.
        guard
            let start = stride(from: 0, to: bytes.count, by: 8).first(where: {
                bytes[$0...].starts(with: Self.magic)
            })
        else { return }
        func word(_ offset: Int) -> UInt32? {
            guard offset >= 0, offset + 4 <= bytes.count else { return nil }
            return bytes[offset..<offset + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }
        func string(_ offset: UInt32?) -> String? {
            guard let offset, start + Int(offset) < bytes.count else { return nil }
            let text = bytes[(start + Int(offset))...].prefix { $0 != 0 }
            return start + Int(offset) + text.count < bytes.count ? String(decoding: text, as: UTF8.self) : nil
        }
        let count = Int(word(start + Self.magic.count) ?? 0)
        for index in 0..<min(count, bytes.count / Self.entryBytes) {
            let entry = start + Self.headerBytes + index * Self.entryBytes
            guard word(entry) == Self.libraryFlags, let name = string(word(entry + 4)),
                let path = string(word(entry + 8))
            else { continue }
            paths[name, default: []].append(path)
        }
    }

    /// The files that may stand for a library, those for special CPUs included.
    public func files(named name: String) -> [String] { paths[name] ?? [] }
}
