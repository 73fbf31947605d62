import Foundation

/// A small ELF file made by hand, to be spoilt in one way at a time.
struct ElfBytes {
    var bytes: [UInt8]

    /// Where the code lies in the file, behind the headers.
    static let codeOffset = 120
    static let codeBytes = 32

    /// A static x86-64 executable with one PT_LOAD in the page at `address`, entered at its first byte.
    init(address: UInt64 = 0x40_0000) {
        bytes = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
        append(UInt16(2))  // ET_EXEC
        append(UInt16(62))  // EM_X86_64
        append(UInt32(1))
        append(address + UInt64(Self.codeOffset))  // e_entry
        append(UInt64(64))  // e_phoff
        append(UInt64(0))  // e_shoff
        append(UInt32(0))
        append(UInt16(64))  // e_ehsize
        append(UInt16(56))  // e_phentsize
        append(UInt16(1))  // e_phnum
        append(UInt16(64))
        append(UInt16(0))
        append(UInt16(0))
        append(UInt32(1))  // PT_LOAD
        append(UInt32(5))
        append(UInt64(Self.codeOffset))  // p_offset
        append(address + UInt64(Self.codeOffset))  // p_vaddr
        append(address + UInt64(Self.codeOffset))  // p_paddr
        append(UInt64(Self.codeBytes))  // p_filesz
        append(UInt64(Self.codeBytes))  // p_memsz
        append(UInt64(4096))
        bytes += [UInt8](repeating: 0xF4, count: Self.codeBytes)
    }

    private mutating func append<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
    }

    mutating func set<T: FixedWidthInteger>(_ offset: Int, _ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes.replaceSubrange(offset..<offset + $0.count, with: $0) }
    }
}

/// A folder that is removed with its owner.
final class TemporaryFolder: Sendable {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appending(path: "vbench-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    /// Writes a file and gives its path.
    func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        let file = url.appending(path: name)
        try Data(bytes).write(to: file)
        return file.path
    }
}
