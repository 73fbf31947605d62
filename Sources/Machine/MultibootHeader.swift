/// The header by which a multiboot 1 kernel says what it wants (Multiboot Specification 0.6.96, 3.1).
public struct MultibootHeader: Sendable, Equatable {
    static let magic: UInt32 = 0x1BAD_B002
    /// The header lies in this many first bytes of the file.
    private static let searched = 8192
    private static let addressFields: UInt32 = 1 << 16
    /// Page-aligned modules, memory information, a video mode. The last is a wish: this machine has no video.
    private static let knownRequirements: UInt32 = 0b111

    var fileOffset: Int
    var flags: UInt32
    var headerAddress: UInt32 = 0
    var loadAddress: UInt32 = 0
    var loadEnd: UInt32 = 0
    var bssEnd: UInt32 = 0
    var entry: UInt32 = 0

    /// The first valid header, nil when there is none.
    init?(in bytes: [UInt8]) {
        func word(_ offset: Int) -> UInt32 {
            guard offset + 4 <= bytes.count else { return 0 }
            return bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
        }
        let end = min(Self.searched, bytes.count) - 12
        guard end >= 0 else { return nil }
        for offset in stride(from: 0, through: end, by: 4) where word(offset) == Self.magic {
            let flags = word(offset + 4)
            guard Self.magic &+ flags &+ word(offset + 8) == 0 else { continue }
            fileOffset = offset
            self.flags = flags
            guard flags & Self.addressFields != 0 else { return }
            guard offset + 32 <= bytes.count else { continue }
            headerAddress = word(offset + 12)
            loadAddress = word(offset + 16)
            loadEnd = word(offset + 20)
            bssEnd = word(offset + 24)
            entry = word(offset + 28)
            return
        }
        return nil
    }

    /// Whether the header says where to load the file, whatever its format.
    var hasAddresses: Bool { flags & Self.addressFields != 0 }

    /// Requirements that this machine does not know: bits that must not be ignored.
    var unknownRequirements: UInt32 { flags & 0xFFFF & ~Self.knownRequirements }

    /// The one segment that the address fields describe. Throws a reason.
    func segment(fileBytes: Int) throws(Reason) -> KernelImage.Segment {
        guard headerAddress >= loadAddress, Int(headerAddress - loadAddress) <= fileOffset else {
            throw Reason("its multiboot header has a load address that is not in the file")
        }
        let start = fileOffset - Int(headerAddress - loadAddress)
        let count = loadEnd == 0 ? fileBytes - start : Int(loadEnd) - Int(loadAddress)
        guard count > 0, count <= fileBytes - start else {
            throw Reason("its multiboot header wants more loaded than the file has (truncated?)")
        }
        let memorySize = bssEnd == 0 ? count : Int(bssEnd) - Int(loadAddress)
        guard memorySize >= count else { throw Reason("its multiboot header has a bss that ends inside the data") }
        return KernelImage.Segment(
            physicalAddress: GuestPhysicalAddress(UInt64(loadAddress)),
            virtualAddress: GuestVirtualAddress(UInt64(loadAddress)), fileRange: start..<start + count,
            memorySize: UInt64(memorySize))
    }

    struct Reason: Error {
        var text: String
        init(_ text: String) { self.text = text }
    }
}
