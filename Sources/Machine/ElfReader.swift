import CElf
import GuestInterface

/// Reads and checks the parts of an ELF image that `KernelImage` needs, through libelf.
///
/// Safety: `elf` must outlive this value. libelf bounds its own parsing by the image size; every offset and size it
/// hands back is still checked here before use.
struct ElfReader {
    let elf: OpaquePointer
    let path: String
    let fileBytes: Int

    /// Whether the file is an ELF file at all.
    var isElf: Bool { elf_kind(elf) == ELF_K_ELF }

    var is64Bit: Bool { gelf_getclass(elf) == ELFCLASS64 }

    /// Little-endian, x86-64 or (32-bit files) i386, ET_EXEC; throws `invalidKernel` that says which it is not.
    func header() throws(MachineError) -> GElf_Ehdr {
        let elfClass = gelf_getclass(elf)
        var header = GElf_Ehdr()
        guard elfClass == ELFCLASS64 || elfClass == ELFCLASS32, gelf_getehdr(elf, &header) != nil else {
            throw invalid("its ELF header is corrupt")
        }
        guard header.e_ident.5 == UInt8(ELFDATA2LSB) else { throw invalid("a big-endian ELF") }
        guard header.e_machine == UInt16(EM_X86_64) || (header.e_machine == UInt16(EM_386) && !is64Bit) else {
            throw invalid("ELF machine \(header.e_machine), not x86-64 (62) or i386 (3)")
        }
        guard header.e_type == UInt16(ET_EXEC) else {
            throw invalid("ELF type \(header.e_type), not an executable (2); link it statically and without PIE")
        }
        return header
    }

    /// PT_LOAD segments; throws `invalidKernel` when any lies outside the file or loadable memory, or they overlap.
    func segments() throws(MachineError) -> [KernelImage.Segment] {
        var count = 0
        guard elf_getphdrnum(elf, &count) == 0 else { throw invalid("its program headers are corrupt") }
        var segments: [KernelImage.Segment] = []
        for index in 0..<count {
            var header = GElf_Phdr()
            guard gelf_getphdr(elf, Int32(clamping: index), &header) != nil else {
                throw invalid("program header \(index) is corrupt")
            }
            guard header.p_type != UInt32(PT_INTERP) else {
                throw invalid("dynamically linked (it names an interpreter)")
            }
            guard header.p_type == UInt32(PT_LOAD), header.p_memsz > 0 else { continue }
            guard header.p_filesz <= header.p_memsz else {
                throw invalid("segment \(index) has more bytes in the file than in memory")
            }
            guard header.p_offset <= UInt64(fileBytes), header.p_filesz <= UInt64(fileBytes) - header.p_offset else {
                throw invalid("segment \(index) reaches past the end of the file (truncated?)")
            }
            let segment = KernelImage.Segment(
                physicalAddress: GuestPhysicalAddress(header.p_paddr),
                virtualAddress: GuestVirtualAddress(header.p_vaddr),
                fileRange: Int(header.p_offset)..<Int(header.p_offset + header.p_filesz),
                memorySize: header.p_memsz)
            guard segment.isLoadable else { throw invalid("segment \(index) \(segment.misplacement)") }
            segments.append(segment)
        }
        guard !segments.isEmpty else { throw invalid("nothing in it is to be loaded (no PT_LOAD segment)") }
        let ordered = segments.sorted { $0.physicalAddress < $1.physicalAddress }
        for (before, after) in zip(ordered, ordered.dropFirst())
        where before.physicalAddress + before.memorySize > after.physicalAddress {
            throw invalid("segments at 0x\(String(after.physicalAddress.rawValue, radix: 16)) overlap")
        }
        return segments
    }

    /// Value of the note XEN_ELFNOTE_PHYS32_ENTRY (18) of owner "Xen" (xen/include/public/elfnote.h), 4 or 8 bytes wide.
    func pvhEntry() -> UInt32? { note("Xen", type: 18) }

    /// Whether the file asks for the vbench boot protocol: note 1 of owner "vbench".
    func hasVBenchNote() -> Bool { note("vbench", type: 1) != nil }

    /// The first 32 bits of a note's value, which is 4 or 8 bytes wide.
    private func note(_ owner: String, type: UInt32) -> UInt32? {
        let name = Array(owner.utf8) + [0]
        var count = 0
        guard elf_getphdrnum(elf, &count) == 0 else { return nil }
        for index in 0..<count {
            var header = GElf_Phdr()
            guard gelf_getphdr(elf, Int32(clamping: index), &header) != nil, header.p_type == UInt32(PT_NOTE),
                header.p_offset <= UInt64(fileBytes), header.p_filesz <= UInt64(fileBytes) - header.p_offset,
                let data = elf_getdata_rawchunk(
                    elf, Int64(header.p_offset), Int(header.p_filesz), header.p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR),
                let contents = data.pointee.d_buf
            else { continue }
            var offset = 0
            while true {
                var note = GElf_Nhdr()
                var nameOffset = 0
                var valueOffset = 0
                let next = gelf_getnote(data, offset, &note, &nameOffset, &valueOffset)
                guard next > offset else { break }
                offset = next
                let bytes = UnsafeRawBufferPointer(start: contents, count: data.pointee.d_size)
                guard note.n_type == type, Int(note.n_namesz) == name.count, nameOffset + name.count <= bytes.count,
                    bytes[nameOffset..<nameOffset + name.count].elementsEqual(name),
                    note.n_descsz == 4 || note.n_descsz == 8, valueOffset + Int(note.n_descsz) <= bytes.count
                else { continue }
                return UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: valueOffset, as: UInt32.self))
            }
        }
        return nil
    }

    /// Named code symbols, by address. Corrupt or absent tables give fewer symbols, no error: they
    /// only serve diagnosis.
    func symbols() -> [SymbolTable.Symbol] {
        var found: [SymbolTable.Symbol] = []
        var section = elf_nextscn(elf, nil)
        while let current = section {
            defer { section = elf_nextscn(elf, current) }
            var header = GElf_Shdr()
            guard gelf_getshdr(current, &header) != nil, header.sh_type == UInt32(SHT_SYMTAB), header.sh_entsize > 0,
                let data = elf_getdata(current, nil)
            else { continue }
            let count = Int(clamping: header.sh_size / header.sh_entsize)
            for index in 0..<min(count, Int(Int32.max)) {
                var symbol = GElf_Sym()
                guard gelf_getsym(data, Int32(index), &symbol) != nil else { break }
                let type = symbol.st_info & 0xF
                guard type == UInt8(STT_FUNC) || type == UInt8(STT_NOTYPE), symbol.st_shndx != UInt16(SHN_UNDEF),
                    let name = elf_strptr(elf, Int(header.sh_link), Int(symbol.st_name)), name.pointee != 0
                else { continue }
                found.append(
                    SymbolTable.Symbol(address: symbol.st_value, size: symbol.st_size, name: String(cString: name)))
            }
        }
        // Where two names share an address, the sized one (a function) comes last and wins.
        return found.sorted { ($0.address, $0.size, $0.name) < ($1.address, $1.size, $1.name) }
    }

    private func invalid(_ reason: String) -> MachineError { .invalidKernel(path: path, reason: reason) }
}
