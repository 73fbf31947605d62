import CElf
import Glibc
import GuestInterface

/// A bootable kernel, checked and ready to be copied into guest memory: a static ELF executable for x86-64 or i386, or any file
/// whose multiboot header says where to load it.
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

        /// Above the boot structures and below the device hole.
        var isLoadable: Bool {
            let start = physicalAddress.rawValue
            return start >= BootLayout.bootAreaEnd && start < BootLayout.lowMemoryLimit
                && memorySize <= BootLayout.lowMemoryLimit - start
        }

        var misplacement: String {
            "loads at 0x\(String(physicalAddress.rawValue, radix: 16)), outside"
                + " [0x\(String(BootLayout.bootAreaEnd, radix: 16)),"
                + " 0x\(String(BootLayout.lowMemoryLimit, radix: 16)))"
        }

        func contains(_ address: UInt64) -> Bool {
            address >= physicalAddress.rawValue && address - physicalAddress.rawValue < memorySize
        }
    }

    /// What is loaded for one boot protocol, and where it is entered.
    public struct LoadPlan: Sendable, Equatable {
        public var segments: [Segment]
        public var entry: GuestPhysicalAddress

        /// First guest-physical address above all segments.
        public var endAddress: GuestPhysicalAddress {
            segments.map { $0.physicalAddress + $0.memorySize }.max() ?? GuestPhysicalAddress(0)
        }
    }

    public let path: String
    /// The whole file.
    public let bytes: [UInt8]
    /// In file order; memory ranges do not overlap and lie in [BootLayout.bootAreaEnd, BootLayout.lowMemoryLimit).
    public let segments: [Segment]
    /// e_entry: a physical address, that of the 64-bit entry point where the file is a 64-bit ELF.
    public let entry: GuestPhysicalAddress
    /// Entry point of the PVH boot protocol, where the image has the Xen PHYS32_ENTRY note.
    public let pvhEntry: UInt32?
    private let lazySymbols: LazySymbolTable
    /// What the file asks of a multiboot loader.
    public let multiboot: MultibootHeader?
    /// A 64-bit ELF.
    private let is64Bit: Bool
    private let asksForVBenchProtocol: Bool

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
        let multiboot = MultibootHeader(in: bytes)
        self.path = path
        self.bytes = bytes
        self.multiboot = multiboot
        guard let elf = bytes.count >= 52 ? elf_memory(copy.baseAddress, bytes.count) : nil else {
            throw .invalidKernel(path: path, reason: "neither an ELF file nor one with a multiboot header")
        }
        defer { elf_end(elf) }
        let reader = ElfReader(elf: elf, path: path, fileBytes: bytes.count)
        guard reader.isElf else {
            guard let multiboot, multiboot.hasAddresses else {
                throw .invalidKernel(
                    path: path, reason: "not an ELF file, and without a multiboot header that says where to load it")
            }
            segments = []
            entry = GuestPhysicalAddress(UInt64(multiboot.entry))
            pvhEntry = nil
            is64Bit = false
            asksForVBenchProtocol = false
            lazySymbols = LazySymbolTable(path: path, bytes: bytes)
            _ = try plan(for: .multiboot)
            return
        }
        let header = try reader.header()
        segments = try reader.segments()
        entry = GuestPhysicalAddress(header.e_entry)
        pvhEntry = reader.pvhEntry()
        is64Bit = reader.is64Bit
        asksForVBenchProtocol = reader.hasVBenchNote()
        lazySymbols = LazySymbolTable(path: path, bytes: bytes)
        _ = try plan(for: preferredProtocol)
    }

    /// First guest-physical address above all segments.
    public var endAddress: GuestPhysicalAddress { LoadPlan(segments: segments, entry: entry).endAddress }

    /// The protocol that the file asks for: vbench's by its note, PVH by Xen's, multiboot by its header; else vbench's.
    public var preferredProtocol: BootProtocol {
        if asksForVBenchProtocol { return .vbench }
        if pvhEntry != nil { return .pvh }
        return multiboot != nil ? .multiboot : .vbench
    }

    /// What to load for this protocol. Throws `invalidKernel` when the file does not support it, or wrongly.
    public func plan(for bootProtocol: BootProtocol) throws(MachineError) -> LoadPlan {
        var plan = LoadPlan(segments: segments, entry: entry)
        switch bootProtocol {
        case .vbench:
            guard is64Bit else {
                throw invalid(
                    "a 32-bit ELF; the vbench protocol enters kernels in 64-bit mode"
                        + (pvhEntry == nil && multiboot == nil
                            ? ", and it has no PVH note and no multiboot header" : ""))
            }
        case .pvh:
            guard let pvhEntry else { throw invalid("it has no PVH entry point (no Xen note 18)") }
            plan.entry = GuestPhysicalAddress(UInt64(pvhEntry))
        case .multiboot:
            guard let multiboot else { throw invalid("it has no multiboot header in its first 8 KiB") }
            guard multiboot.unknownRequirements == 0 else {
                let bits = String(multiboot.unknownRequirements, radix: 16)
                throw invalid("its multiboot header has requirements that are not known (flags 0x\(bits))")
            }
            if multiboot.hasAddresses {
                let segment: Segment
                do throws(MultibootHeader.Reason) {
                    segment = try multiboot.segment(fileBytes: bytes.count)
                } catch { throw invalid(error.text) }
                guard segment.isLoadable else { throw invalid("its multiboot header \(segment.misplacement)") }
                plan = LoadPlan(
                    segments: [segment], entry: GuestPhysicalAddress(UInt64(multiboot.entry)))
            }
        }
        guard plan.segments.contains(where: { $0.contains(plan.entry.rawValue) }) else {
            throw invalid(
                "its entry point 0x\(String(plan.entry.rawValue, radix: 16)) is in none of its loaded segments"
                    + " (it must be a physical address)")
        }
        return plan
    }

    private func invalid(_ reason: String) -> MachineError { .invalidKernel(path: path, reason: reason) }

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
