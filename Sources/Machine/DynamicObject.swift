import CElf
import Glibc

/// Why a file is no object that a dynamic linker could load.
public enum DynamicObjectError: Error, Equatable, CustomStringConvertible {
    case unreadable(path: String, reason: String)
    /// Not an ELF file, or one for another machine: a dynamic linker goes on searching.
    case foreign(path: String)
    case corrupt(path: String, detail: String)

    public var description: String {
        switch self {
        case .unreadable(let path, let reason): "\(path): cannot be read: \(reason)"
        case .foreign(let path): "\(path): not an x86-64 ELF file"
        case .corrupt(let path, let detail): "\(path): corrupt ELF file: \(detail)"
        }
    }
}

/// What an ELF program or shared library says to the dynamic linker, read through libelf.
///
/// By program headers and the dynamic section alone, as the dynamic linker does it: section headers may be stripped.
public struct DynamicObject: Sendable, Equatable {
    /// The dynamic linker that a program asks for (PT_INTERP).
    public var interpreter: String?
    /// Libraries it needs (DT_NEEDED), in order.
    public var needed: [String] = []
    /// The name it is known by (DT_SONAME).
    public var soname: String?
    /// Search path of this object and of what it loads (DT_RPATH); nil where there is none, or a RUNPATH takes its place.
    public var rpath: String?
    /// Search path of this object alone (DT_RUNPATH).
    public var runpath: String?
    /// Default folders are not searched for what it needs (DF_1_NODEFLIB).
    public var ignoresDefaultFolders = false

    // Tags: glibc elf/elf.h; DF_1_NODEFLIB as ld.so(8) knows it from `-z nodefaultlib`.
    private static let neededTag: Int64 = 1
    private static let stringsTag: Int64 = 5
    private static let sonameTag: Int64 = 14
    private static let rpathTag: Int64 = 15
    private static let runpathTag: Int64 = 29
    private static let flagsTag: Int64 = 0x6FFF_FFFB
    private static let noDefaultLibraries: UInt64 = 0x800

    public init(path: String) throws(DynamicObjectError) {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .unreadable(path: path, reason: String(cString: strerror(errno))) }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw .unreadable(path: path, reason: "not a regular file")
        }
        guard elf_version(UInt32(EV_CURRENT)) != UInt32(EV_NONE), let elf = elf_begin(file, ELF_C_READ_MMAP, nil) else {
            throw .foreign(path: path)
        }
        defer { elf_end(elf) }
        var header = GElf_Ehdr()
        guard elf_kind(elf) == ELF_K_ELF, gelf_getclass(elf) == ELFCLASS64, gelf_getehdr(elf, &header) != nil,
            header.e_ident.5 == UInt8(ELFDATA2LSB), header.e_machine == UInt16(EM_X86_64)
        else { throw .foreign(path: path) }
        let segments = Self.segments(elf)
        let fileBytes = UInt64(status.st_size)
        if let named = segments.first(where: { $0.p_type == UInt32(PT_INTERP) }) {
            guard let text = Self.string(elf, at: named.p_offset, limit: named.p_filesz, fileBytes) else {
                throw .corrupt(path: path, detail: "the name of its dynamic linker lies outside the file")
            }
            interpreter = text
        }
        guard let dynamic = segments.first(where: { $0.p_type == UInt32(PT_DYNAMIC) }) else { return }
        guard dynamic.p_offset <= fileBytes, dynamic.p_filesz <= fileBytes - dynamic.p_offset,
            let data = elf_getdata_rawchunk(elf, Int64(dynamic.p_offset), Int(dynamic.p_filesz), ELF_T_DYN)
        else { throw .corrupt(path: path, detail: "its dynamic section lies outside the file") }
        try read(Self.entries(data), segments, elf, path: path, fileBytes)
    }

    private mutating func read(
        _ entries: [(tag: Int64, value: UInt64)], _ segments: [GElf_Phdr], _ elf: OpaquePointer, path: String,
        _ fileBytes: UInt64
    ) throws(DynamicObjectError) {
        // The table is named by its address in memory.
        let address = entries.first { $0.tag == Self.stringsTag }?.value
        let table = segments.first {
            guard let address else { return false }
            return $0.p_type == UInt32(PT_LOAD) && address >= $0.p_vaddr && address - $0.p_vaddr < $0.p_filesz
        }
        for (tag, value) in entries {
            switch tag {
            case Self.flagsTag: ignoresDefaultFolders = value & Self.noDefaultLibraries != 0
            case Self.neededTag, Self.sonameTag, Self.rpathTag, Self.runpathTag:
                guard let table, let address, value <= fileBytes,
                    let text = Self.string(
                        elf, at: address - table.p_vaddr + table.p_offset + value, limit: 4096, fileBytes)
                else { throw .corrupt(path: path, detail: "a name of its dynamic section lies outside the file") }
                switch tag {
                case Self.neededTag: needed.append(text)
                case Self.sonameTag: soname = text
                case Self.rpathTag: rpath = text
                default: runpath = text
                }
            default: break
            }
        }
        // ld.so(8): DT_RPATH is used only where DT_RUNPATH does not exist.
        if runpath != nil { rpath = nil }
    }

    private static func segments(_ elf: OpaquePointer) -> [GElf_Phdr] {
        var count = 0
        guard elf_getphdrnum(elf, &count) == 0 else { return [] }
        return (0..<count).compactMap { index in
            var header = GElf_Phdr()
            return gelf_getphdr(elf, Int32(clamping: index), &header) == nil ? nil : header
        }
    }

    /// Up to the entry that ends the section.
    private static func entries(_ data: UnsafeMutablePointer<Elf_Data>) -> [(tag: Int64, value: UInt64)] {
        var entries: [(Int64, UInt64)] = []
        var entry = GElf_Dyn()
        while gelf_getdyn(data, Int32(clamping: entries.count), &entry) != nil, entry.d_tag != 0 {
            entries.append((entry.d_tag, entry.d_un.d_val))
        }
        return entries
    }

    /// The terminated string at a place in the file.
    private static func string(_ elf: OpaquePointer, at offset: UInt64, limit: UInt64, _ fileBytes: UInt64) -> String? {
        guard offset < fileBytes else { return nil }
        let count = Int(min(limit, fileBytes - offset))
        guard let data = elf_getdata_rawchunk(elf, Int64(offset), count, ELF_T_BYTE), let bytes = data.pointee.d_buf
        else { return nil }
        let text = UnsafeRawBufferPointer(start: bytes, count: count).prefix { $0 != 0 }
        return text.count < count ? String(decoding: text, as: UTF8.self) : nil
    }
}
