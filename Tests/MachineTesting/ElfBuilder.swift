/// Writes small ELF64 executables, well formed or deliberately broken, so that tests need no toolchain.
///
///     0x0000  ELF header
///     0x0040  program headers
///     …       segment contents, each at the next multiple of 16, then the symbol and string tables, section headers
public struct ElfBuilder {
    public struct Segment {
        public var type: UInt32 = 1
        public var physicalAddress: UInt64
        public var virtualAddress: UInt64
        public var contents: [UInt8]
        /// Contents' size when nil.
        public var memorySize: UInt64?

        public init(at address: UInt64, contents: [UInt8], memorySize: UInt64? = nil, type: UInt32 = 1) {
            physicalAddress = address
            virtualAddress = address
            self.contents = contents
            self.memorySize = memorySize
            self.type = type
        }
    }

    public struct Symbol {
        public var name: String
        public var address: UInt64
        public var size: UInt64

        public init(_ name: String, at address: UInt64, size: UInt64) {
            self.name = name
            self.address = address
            self.size = size
        }
    }

    public var segments: [Segment] = []
    public var symbols: [Symbol] = []
    public var entry: UInt64
    public var type: UInt16 = 2
    public var machine: UInt16 = 62

    public init(entry: UInt64, segments: [Segment]) {
        self.entry = entry
        self.segments = segments
    }

    /// A kernel of one segment that starts with its first byte.
    public init(code: [UInt8], at address: UInt64 = 0x20_0000, memorySize: UInt64? = nil) {
        self.init(entry: address, segments: [Segment(at: address, contents: code, memorySize: memorySize)])
    }

    /// The PVH note: owner "Xen", type 18, a 32-bit entry point.
    public static func pvhNote(entry: UInt32) -> [UInt8] {
        little(UInt32(4)) + little(UInt32(4)) + little(UInt32(18)) + Array("Xen\0".utf8) + little(entry)
    }

    public static func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    /// The same as a 32-bit file, without symbols.
    public var bytes32: [UInt8] {
        let headerBytes = 52 + 32 * segments.count
        var body: [UInt8] = []
        var headers: [UInt8] = []
        for segment in segments {
            headers += Self.little(segment.type) + Self.little(UInt32(headerBytes + body.count))
            for address in [segment.virtualAddress, segment.physicalAddress] {
                headers += Self.little(UInt32(truncatingIfNeeded: address))
            }
            headers += Self.little(UInt32(segment.contents.count))
            headers += Self.little(UInt32(segment.memorySize ?? UInt64(segment.contents.count)))
            headers += Self.little(UInt32(7)) + Self.little(UInt32(4))
            body += segment.contents
        }
        var file: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 1, 1, 1] + [UInt8](repeating: 0, count: 9)
        file += Self.little(type) + Self.little(machine) + Self.little(UInt32(1))
        for word in [UInt32(truncatingIfNeeded: entry), 52, 0, 0] { file += Self.little(word) }
        for half in [52, 32, segments.count, 40, 0, 0] { file += Self.little(UInt16(half)) }
        return file + headers + body
    }

    public var bytes: [UInt8] {
        let headerBytes = 64 + 56 * segments.count
        var body: [UInt8] = []
        func align() { while (headerBytes + body.count) % 16 != 0 { body.append(0) } }
        var offsets: [Int] = []
        for segment in segments {
            align()
            offsets.append(headerBytes + body.count)
            body += segment.contents
        }
        var strings: [UInt8] = [0]
        var symbolTable = [UInt8](repeating: 0, count: 24)
        for symbol in symbols {
            symbolTable += Self.little(UInt32(strings.count)) + [0x12, 0] + Self.little(UInt16(1))
            symbolTable += Self.little(symbol.address) + Self.little(symbol.size)
            strings += Array(symbol.name.utf8) + [0]
        }
        align()
        let symbolOffset = headerBytes + body.count
        body += symbolTable
        let stringOffset = headerBytes + body.count
        body += strings
        align()
        let sectionOffset = headerBytes + body.count
        body += section(type: 0, offset: 0, size: 0, link: 0, entrySize: 0)
        body += section(type: 2, offset: symbolOffset, size: symbolTable.count, link: 2, entrySize: 24)
        body += section(type: 3, offset: stringOffset, size: strings.count, link: 0, entrySize: 0)

        var file: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
        file += Self.little(type) + Self.little(machine) + Self.little(UInt32(1)) + Self.little(entry)
        file += Self.little(UInt64(64)) + Self.little(UInt64(sectionOffset)) + Self.little(UInt32(0))
        for half in [64, 56, segments.count, 64, 3, 0] { file += Self.little(UInt16(half)) }
        for (segment, offset) in zip(segments, offsets) {
            file += Self.little(segment.type) + Self.little(UInt32(7)) + Self.little(UInt64(offset))
            file += Self.little(segment.virtualAddress) + Self.little(segment.physicalAddress)
            file += Self.little(UInt64(segment.contents.count))
            file += Self.little(segment.memorySize ?? UInt64(segment.contents.count)) + Self.little(UInt64(4))
        }
        return file + body
    }

    private func section(type: UInt32, offset: Int, size: Int, link: UInt32, entrySize: Int) -> [UInt8] {
        Self.little(UInt32(0)) + Self.little(type) + Self.little(UInt64(0)) + Self.little(UInt64(0))
            + Self.little(UInt64(offset)) + Self.little(UInt64(size)) + Self.little(link) + Self.little(UInt32(1))
            + Self.little(UInt64(8)) + Self.little(UInt64(entrySize))
    }
}
