import Glibc

/// Why a file cannot be run as a guest program.
public enum ProgramFileError: Error, Equatable, CustomStringConvertible {
    case missing(path: String)
    case unreadable(path: String, reason: String)
    case notRegular(path: String)
    case notELF(path: String, hint: String)
    case notX86_64(path: String, found: String)
    case notExecutable(path: String, found: String)
    case corrupt(path: String, detail: String)

    public var description: String {
        switch self {
        case .missing(let path): "\(path): no such file"
        case .unreadable(let path, let reason): "\(path): cannot be read: \(reason)"
        case .notRegular(let path): "\(path): not a regular file"
        case .notELF(let path, let hint): "\(path): not an ELF program\(hint)"
        case .notX86_64(let path, let found):
            "\(path): built for \(found); programs must be 64-bit x86-64 Linux ELF files"
        case .notExecutable(let path, let found): "\(path): this ELF file is \(found), not an executable program"
        case .corrupt(let path, let detail): "\(path): corrupt ELF file: \(detail)"
        }
    }
}

/// An x86-64 Linux program on the host, found fit to run.
public struct ProgramFile: Sendable, Equatable {
    public let path: String
    public let bytes: UInt64
    /// The dynamic linker that the program asks for; nil for a static one.
    public let interpreter: String?

    /// Looks at the file's headers.
    ///
    /// - Throws: `ProgramFileError`, worded for a person.
    public init(checking path: String) throws(ProgramFileError) {
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw errno == ENOENT || errno == ENOTDIR
                ? .missing(path: path) : .unreadable(path: path, reason: String(cString: strerror(errno)))
        }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .notRegular(path: path) }
        let descriptor: Descriptor
        do { descriptor = try Descriptor(opening: path, flags: O_RDONLY) } catch {
            throw .unreadable(path: path, reason: String(cString: strerror(error.code)))
        }
        self.path = path
        bytes = UInt64(status.st_size)
        interpreter = try Self.check(descriptor, path: path, bytes: bytes)
    }

    // Offsets and values: System V gABI, "ELF Header" and "Program Header"; machine numbers from its registry.
    private static let headerBytes = 64
    private static let programHeaderBytes = 56

    private static func check(
        _ descriptor: Descriptor, path: String, bytes: UInt64
    ) throws(ProgramFileError) -> String? {
        let header = contents(of: descriptor, at: 0, count: headerBytes)
        guard header.starts(with: [0x7F, UInt8(ascii: "E"), UInt8(ascii: "L"), UInt8(ascii: "F")]) else {
            let script = header.starts(with: [UInt8(ascii: "#"), UInt8(ascii: "!")])
            throw .notELF(path: path, hint: script ? " but a script: run its interpreter instead" : "")
        }
        guard header.count == headerBytes else {
            throw .corrupt(path: path, detail: "it ends inside its \(headerBytes)-byte header")
        }
        guard header[4] == 2 else {
            guard header[4] == 1 else { throw .corrupt(path: path, detail: "class byte \(header[4])") }
            throw .notX86_64(path: path, found: "a 32-bit machine")
        }
        guard header[5] == 1 else { throw .notX86_64(path: path, found: "a big-endian machine") }
        let machine = header.integer(UInt16.self, at: 18)
        guard machine == 62 else {
            throw .notX86_64(path: path, found: machine == 183 ? "AArch64" : "ELF machine \(machine)")
        }
        switch header.integer(UInt16.self, at: 16) {
        case 2, 3: break
        case 1: throw .notExecutable(path: path, found: "an object file")
        case 4: throw .notExecutable(path: path, found: "a core dump")
        case let type: throw .corrupt(path: path, detail: "file type \(type)")
        }

        let offset = header.integer(UInt64.self, at: 32)
        let count = Int(header.integer(UInt16.self, at: 56))
        guard count > 0, header.integer(UInt16.self, at: 54) == programHeaderBytes else {
            throw .corrupt(path: path, detail: "no program headers")
        }
        let size = count * programHeaderBytes
        guard offset <= bytes, bytes - offset >= UInt64(size) else {
            throw .corrupt(path: path, detail: "its program headers lie beyond the end of the file (\(bytes) bytes)")
        }
        let table = contents(of: descriptor, at: offset, count: size)
        guard table.count == size else { throw .corrupt(path: path, detail: "its program headers cannot be read") }
        var loads = 0
        var interpreter: String?
        for start in stride(from: 0, to: size, by: programHeaderBytes) {
            let type = table.integer(UInt32.self, at: start)
            let fileOffset = table.integer(UInt64.self, at: start + 8)
            let fileBytes = table.integer(UInt64.self, at: start + 32)
            guard type == 1 || type == 3 else { continue }
            guard fileOffset <= bytes, bytes - fileOffset >= fileBytes else {
                throw .corrupt(
                    path: path,
                    detail: "a segment ends beyond the end of the file (\(bytes) bytes): is it truncated?")
            }
            if type == 3 {
                let name = contents(of: descriptor, at: fileOffset, count: Int(min(fileBytes, 4096)))
                interpreter = String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
            } else {
                loads += 1
            }
        }
        guard loads > 0 else { throw .corrupt(path: path, detail: "nothing in it is to be loaded") }
        return interpreter
    }

    private static func contents(of descriptor: Descriptor, at offset: UInt64, count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            used = max(0, pread(descriptor.number, buffer.baseAddress, count, off_t(bitPattern: UInt(offset))))
        }
    }
}

extension [UInt8] {
    /// The little-endian integer at `offset`, which must lie inside.
    fileprivate func integer<T: FixedWidthInteger>(_ type: T.Type, at offset: Int) -> T {
        self[offset..<offset + MemoryLayout<T>.size].reversed().reduce(0) { $0 << 8 | T(truncatingIfNeeded: $1) }
    }
}
