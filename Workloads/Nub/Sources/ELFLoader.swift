import CPU

/// Why a program cannot be loaded: for the log, and the error number for execve.
struct LoadFailure {
    var message: StaticString
    var error: Int
}

/// What the initial stack and registers need to know of a loaded program.
struct LoadedProgram {
    /// The program's own first instruction, and where it begins to run: in its interpreter if it has one.
    var entry: UInt64 = 0
    var start: UInt64 = 0
    var programHeaders: UInt64 = 0
    var programHeaderCount: UInt64 = 0
    var end: UInt64 = 0
    /// Where the interpreter (dynamic linker) lies, or 0.
    var interpreterBase: UInt64 = 0
}

/// The fields of an ELF header that loading needs (ELF-64 Object File Format, 4).
private struct ELFHeader {
    var isPositionIndependent = false
    var entry: UInt64 = 0
    var tableOffset: UInt64 = 0
    var count: UInt64 = 0
}

/// Maps ELF executables (64-bit x86-64, ET_EXEC or position-independent) into an address space, and the interpreter that one asks
/// for beside it. Nothing is copied here: pages come in by faults. Every field is checked: programs are hostile.
enum ELFLoader {
    private static let headerBytes: UInt64 = 64
    private static let programHeaderBytes: UInt64 = 56
    private static let loadable: UInt64 = 1
    private static let interpreter: UInt64 = 3

    static func load(
        _ node: NodePointer, into space: UnsafeMutablePointer<AddressSpace>, _ program: inout LoadedProgram
    )
        -> LoadFailure?
    {
        var header = ELFHeader()
        if let failure = read(node, &header) { return failure }
        let base = header.isPositionIndependent ? Layout.positionIndependentBase : 0
        var linker: NodePointer?
        if let failure = findInterpreter(node, header, &linker) { return failure }
        guard mapSegments(node, header, base, into: space, &program), header.entry < Layout.userEnd &- base,
            space.pointee.area(at: base &+ header.entry) != nil
        else { return damaged }
        program.entry = base &+ header.entry
        program.start = program.entry
        program.programHeaderCount = header.count
        space.pointee.breakStart = program.end
        space.pointee.breakEnd = program.end
        guard let linker else { return nil }
        return loadInterpreter(linker, into: space, &program)
    }

    private static var damaged: LoadFailure { LoadFailure(message: "damaged ELF file", error: -ENOEXEC) }

    private static func read(_ node: NodePointer, _ result: inout ELFHeader) -> LoadFailure? {
        let size = node.pointee.size
        guard size >= headerBytes else { return LoadFailure(message: "not an ELF file", error: -ENOEXEC) }
        var header = InlineArray<8, UInt64>(repeating: 0)
        withUnsafeMutableBytes(of: &header) { node.pointee.copyOut(0, $0.baseAddress.unsafelyUnwrapped, headerBytes) }
        // e_ident: magic, class, byte order.
        guard header[0] & 0xFFFF_FFFF == 0x464C_457F else {
            return LoadFailure(message: "not an ELF file", error: -ENOEXEC)
        }
        guard header[0] >> 32 & 0xFF == 2 else { return LoadFailure(message: "not a 64-bit ELF file", error: -ENOEXEC) }
        guard header[0] >> 40 & 0xFF == 1, header[2] >> 16 & 0xFFFF == 62 else {
            return LoadFailure(message: "not an x86-64 ELF file", error: -ENOEXEC)
        }
        let type = header[2] & 0xFFFF
        guard type == 2 || type == 3 else { return LoadFailure(message: "not an executable ELF file", error: -ENOEXEC) }
        let count = header[7] & 0xFFFF
        guard header[6] >> 48 & 0xFFFF == programHeaderBytes, count > 0, count <= 64, header[4] <= size,
            count &* programHeaderBytes <= size &- header[4]
        else { return damaged }
        result = ELFHeader(
            isPositionIndependent: type == 3, entry: header[3], tableOffset: header[4], count: count)
        return nil
    }

    /// Program header `index`: type and flags, offset, virtual address, physical address, file size, memory size, alignment.
    private static func segment(_ node: NodePointer, _ header: ELFHeader, _ index: UInt64) -> InlineArray<7, UInt64> {
        var segment = InlineArray<7, UInt64>(repeating: 0)
        withUnsafeMutableBytes(of: &segment) {
            node.pointee.copyOut(
                header.tableOffset &+ index &* programHeaderBytes, $0.baseAddress.unsafelyUnwrapped, programHeaderBytes)
        }
        return segment
    }

    /// The file that the program's PT_INTERP names, if it has one.
    private static func findInterpreter(
        _ node: NodePointer, _ header: ELFHeader, _ found: inout NodePointer?
    ) -> LoadFailure? {
        for index in 0..<header.count {
            let segment = segment(node, header, index)
            if segment[0] & 0xFFFF_FFFF != interpreter { continue }
            let (offset, bytes) = (segment[1], segment[4])
            guard bytes > 1, bytes <= UInt64(KERNEL_PATH_BYTES), offset <= node.pointee.size,
                bytes <= node.pointee.size &- offset
            else { return damaged }
            let path = kernel_second_path_buffer().unsafelyUnwrapped
            node.pointee.copyOut(offset, path, bytes)
            guard path[Int(bytes) - 1] == 0 else { return damaged }
            let place = fileTree.look(up: path, Int(bytes) - 1, from: fileTree.root)
            guard let file = place.node, file.pointee.kind == .file else {
                return LoadFailure(
                    message: "dynamically linked, and its dynamic linker is not in the file tree", error: -ENOENT)
            }
            found = file
            return nil
        }
        return nil
    }

    /// Maps the dynamic linker where there is room; it loads the libraries by itself.
    private static func loadInterpreter(
        _ node: NodePointer, into space: UnsafeMutablePointer<AddressSpace>, _ program: inout LoadedProgram
    ) -> LoadFailure? {
        let unfit = LoadFailure(message: "its dynamic linker cannot be loaded", error: -ENOEXEC)
        var header = ELFHeader()
        guard read(node, &header) == nil, header.isPositionIndependent else { return unfit }
        var bytes: UInt64 = 0
        for index in 0..<header.count {
            let segment = segment(node, header, index)
            if segment[0] & 0xFFFF_FFFF != loadable { continue }
            guard segment[2] < Layout.mapTop, segment[5] <= Layout.mapTop &- segment[2] else { return unfit }
            let end = pageCeiling(segment[2] &+ segment[5])
            if end > bytes { bytes = end }
        }
        guard bytes > 0, let base = space.pointee.findFree(bytes) else { return unfit }
        var linker = LoadedProgram()
        guard mapSegments(node, header, base, into: space, &linker), header.entry < Layout.userEnd &- base,
            space.pointee.area(at: base &+ header.entry) != nil
        else { return unfit }
        program.interpreterBase = base
        program.start = base &+ header.entry
        return nil
    }

    /// Maps what is to be loaded, `base` higher than the file says; notes where it ends and where its program headers are.
    private static func mapSegments(
        _ node: NodePointer, _ header: ELFHeader, _ base: UInt64, into space: UnsafeMutablePointer<AddressSpace>,
        _ program: inout LoadedProgram
    ) -> Bool {
        for index in 0..<header.count {
            let segment = segment(node, header, index)
            if segment[0] & 0xFFFF_FFFF != loadable || segment[5] == 0 { continue }
            guard mapSegment(segment, node, space, base, &program) else { return false }
            let offset = segment[1]
            if offset <= header.tableOffset && header.tableOffset &- offset < segment[4] {
                program.programHeaders = base &+ segment[2] &+ (header.tableOffset &- offset)
            }
        }
        return program.end != 0
    }

    /// `segment`: type and flags, offset, virtual address, physical address, file size, memory size, alignment.
    private static func mapSegment(
        _ segment: InlineArray<7, UInt64>, _ node: NodePointer, _ space: UnsafeMutablePointer<AddressSpace>,
        _ base: UInt64, _ program: inout LoadedProgram
    ) -> Bool {
        let flags = segment[0] >> 32
        let offset = segment[1]
        let fileBytes = segment[4]
        let memoryBytes = segment[5]
        let limit = Layout.mapTop
        guard base <= limit, segment[2] < limit &- base, memoryBytes <= limit &- base &- segment[2],
            fileBytes <= memoryBytes,
            offset <= node.pointee.size, fileBytes <= node.pointee.size &- offset, (segment[2] ^ offset) & 4095 == 0
        else { return false }
        let address = base &+ segment[2]
        let start = pageFloor(address)
        let end = pageCeiling(address &+ memoryBytes)
        guard start >= Layout.userStart, space.pointee.isFree(start, end) else { return false }
        var protection: UInt8 = 0
        if flags & 4 != 0 { protection |= 1 }
        if flags & 2 != 0 { protection |= 2 }
        if flags & 1 != 0 { protection |= 4 }
        let fileEnd = address &+ fileBytes
        let zeroStart = fileBytes == 0 ? start : pageCeiling(fileEnd)
        if zeroStart > start {
            // Without a zero-filled tail the last page is the file's page as it is, and can be shared.
            let bytes = memoryBytes > fileBytes ? fileEnd &- start : zeroStart &- start
            let area = MemoryArea(
                start: start, end: zeroStart, next: nil, protection: protection, isShared: false, node: node,
                fileOffset: pageFloor(offset), fileBytes: bytes)
            if !space.pointee.insert(area) { return false }
        }
        if end > zeroStart {
            let area = MemoryArea(
                start: zeroStart, end: end, next: nil, protection: protection, isShared: false, node: nil,
                fileOffset: 0, fileBytes: 0)
            if !space.pointee.insert(area) { return false }
        }
        if end > program.end { program.end = end }
        return true
    }
}
