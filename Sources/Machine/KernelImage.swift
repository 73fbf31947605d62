import CElf
import Glibc
import GuestInterface

/// A bootable kernel: a static 64-bit x86 ELF executable, checked and ready to be copied into guest memory.
///
/// The file may be hostile: every offset and size is checked before it is used, and libelf only ever sees a private
/// copy of the bytes.
public struct KernelImage: Sendable {
    /// One PT_LOAD segment.
    public struct Segment: Sendable, Equatable {
        /// Where it is loaded (p_paddr).
        public var physicalAddress: GuestPhysicalAddress
        /// Where it is linked to run (p_vaddr).
        public var virtualAddress: GuestVirtualAddress
        /// Its bytes in `KernelImage.bytes`.
        public var fileRange: Range<Int>
        /// Bytes in memory; what the file does not give is zero.
        public var memorySize: UInt64
    }

    public let path: String
    /// The whole file.
    public let bytes: [UInt8]
    /// In file order; memory ranges do not overlap and lie in [BootLayout.bootAreaEnd, BootLayout.lowMemoryLimit).
    public let segments: [Segment]
    /// e_entry: the physical address of the 64-bit entry point.
    public let entry: GuestPhysicalAddress
    /// Entry point of the PVH boot protocol, where the image has the Xen PHYS32_ENTRY note.
    public let pvhEntry: UInt32?
    private let lazySymbols: LazySymbolTable

    /// No kernel of ours comes near it; keeps a wrong path (a disk image) from being read whole.
    public static let maximumFileBytes = 256 << 20

    /// Reads and checks the image. Throws `system` when it cannot be read, `invalidKernel` when it is none.
    public init(path: String) throws(MachineError) {
        try self.init(path: path, bytes: Self.contents(of: path))
    }

    /// Checks an image already in memory; `path` names it in messages.
    public init(path: String, bytes: [UInt8]) throws(MachineError) {
        guard elf_version(UInt32(EV_CURRENT)) != UInt32(EV_NONE) else {
            throw .invalidKernel(path: path, reason: "libelf is older than this ELF version")
        }
        // libelf wants mutable memory and may convert in place: give it a copy that lives as long as the descriptor.
        let copy = UnsafeMutableBufferPointer<CChar>.allocate(capacity: max(bytes.count, 1))
        defer { copy.deallocate() }
        bytes.withUnsafeBytes { source in
            UnsafeMutableRawBufferPointer(copy).copyMemory(from: source)
        }
        guard bytes.count >= 64, let elf = elf_memory(copy.baseAddress, bytes.count) else {
            throw .invalidKernel(path: path, reason: "not an ELF file")
        }
        defer { elf_end(elf) }
        let reader = ElfReader(elf: elf, path: path, fileBytes: bytes.count)
        let header = try reader.header()
        let segments = try reader.segments()
        guard
            segments.contains(where: {
                header.e_entry >= $0.physicalAddress.rawValue
                    && header.e_entry - $0.physicalAddress.rawValue < $0.memorySize
            })
        else {
            throw .invalidKernel(
                path: path,
                reason: "its entry point 0x\(String(header.e_entry, radix: 16)) is in none of its loaded segments"
                    + " (e_entry must be a physical address)")
        }
        self.path = path
        self.bytes = bytes
        self.segments = segments
        entry = GuestPhysicalAddress(header.e_entry)
        pvhEntry = reader.pvhEntry()
        lazySymbols = LazySymbolTable(path: path, bytes: bytes)
    }

    /// First guest-physical address above all segments.
    public var endAddress: GuestPhysicalAddress {
        segments.map { $0.physicalAddress + $0.memorySize }.max() ?? GuestPhysicalAddress(0)
    }

    public var symbols: SymbolTable { lazySymbols.value }

    /// The function or label at or before `address` (as linked), nil when there is none near.
    public func symbol(at address: UInt64) -> (name: String, offset: UInt64)? { symbols.symbol(at: address) }

    /// `symbol+0x12`, or the bare address where no symbol is known.
    public func describe(_ address: UInt64) -> String {
        let hex = "0x" + String(address, radix: 16)
        guard let symbol = symbol(at: address) else { return hex }
        return "\(hex) \(symbol.name)+0x\(String(symbol.offset, radix: 16))"
    }

    private static func contents(of path: String) throws(MachineError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .last("open \(path)") }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .last("stat \(path)") }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw .invalidKernel(path: path, reason: "not a regular file")
        }
        guard status.st_size <= maximumFileBytes else {
            throw .invalidKernel(path: path, reason: "\(status.st_size) bytes is larger than any kernel")
        }
        var contents = [UInt8](repeating: 0, count: Int(status.st_size))
        var filled = 0
        while filled < contents.count {
            let count = contents.withUnsafeMutableBytes { buffer in
                Glibc.read(descriptor, buffer.baseAddress! + filled, buffer.count - filled)
            }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .last("read \(path)") }
            if count == 0 { break }
            filled += count
        }
        contents.removeLast(contents.count - filled)
        return contents
    }
}
