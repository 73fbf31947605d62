import CPU

/// Why a program cannot be loaded: for the log, and the error number for execve.
struct LoadFailure {
    var message: StaticString
    var error: Int
}

/// What the initial stack and registers need to know of a loaded program.
struct LoadedProgram {
    var entry: UInt64 = 0
    var programHeaders: UInt64 = 0
    var programHeaderCount: UInt64 = 0
    var end: UInt64 = 0
}

/// Maps static ELF executables (64-bit x86-64, ET_EXEC or static PIE) into an address space. Nothing is copied here:
/// pages come in by faults. Every field is checked: programs are hostile.
enum ELFLoader {
    private static let headerBytes: UInt64 = 64
    private static let programHeaderBytes: UInt64 = 56
    private static let loadable: UInt64 = 1
    private static let dynamicLinker: UInt64 = 3

    static func load(
        _ node: NodePointer, into space: UnsafeMutablePointer<AddressSpace>, _ program: inout LoadedProgram
    )
        -> LoadFailure?
    {
        let size = node.pointee.size
        guard size >= headerBytes else { return LoadFailure(message: "not an ELF file", error: -ENOEXEC) }
        var header = InlineArray<8, UInt64>(repeating: 0)
        withUnsafeMutableBytes(of: &header) { node.pointee.copyOut(0, $0.baseAddress.unsafelyUnwrapped, headerBytes) }
        // e_ident: magic, class, byte order (ELF-64 Object File Format, 4).
        guard header[0] & 0xFFFF_FFFF == 0x464C_457F else {
            return LoadFailure(message: "not an ELF file", error: -ENOEXEC)
        }
        guard header[0] >> 32 & 0xFF == 2 else { return LoadFailure(message: "not a 64-bit ELF file", error: -ENOEXEC) }
        guard header[0] >> 40 & 0xFF == 1, header[2] >> 16 & 0xFFFF == 62 else {
            return LoadFailure(message: "not an x86-64 ELF file", error: -ENOEXEC)
        }
        let type = header[2] & 0xFFFF
        guard type == 2 || type == 3 else { return LoadFailure(message: "not an executable ELF file", error: -ENOEXEC) }
        let entry = header[3]
        let tableOffset = header[4]
        let entryBytes = header[6] >> 48 & 0xFFFF
        let count = header[7] & 0xFFFF
        let damaged = LoadFailure(message: "damaged ELF file", error: -ENOEXEC)
        guard entryBytes == programHeaderBytes, count > 0, count <= 64, tableOffset <= size,
            count &* programHeaderBytes <= size &- tableOffset
        else { return damaged }
        let base = type == 3 ? Layout.positionIndependentBase : 0

        for index in 0..<count {
            var segment = InlineArray<7, UInt64>(repeating: 0)
            withUnsafeMutableBytes(of: &segment) {
                node.pointee.copyOut(
                    tableOffset &+ index &* programHeaderBytes, $0.baseAddress.unsafelyUnwrapped, programHeaderBytes)
            }
            let kind = segment[0] & 0xFFFF_FFFF
            if kind == dynamicLinker {
                return LoadFailure(message: "dynamically linked: only static executables run", error: -ENOEXEC)
            }
            if kind != loadable || segment[5] == 0 { continue }
            guard mapSegment(segment, node, space, base, &program) else { return damaged }
            let offset = segment[1]
            if offset <= tableOffset && tableOffset &- offset < segment[4] {
                program.programHeaders = base &+ segment[2] &+ (tableOffset &- offset)
            }
        }
        guard program.end != 0, entry < Layout.userEnd &- base, space.pointee.area(at: base &+ entry) != nil else {
            return damaged
        }
        program.entry = base &+ entry
        program.programHeaderCount = count
        space.pointee.breakStart = program.end
        space.pointee.breakEnd = program.end
        return nil
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
        let limit = Layout.mapTop &- (1 << 30)
        guard segment[2] < limit &- base, memoryBytes <= limit &- base &- segment[2], fileBytes <= memoryBytes,
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
