import CPU

/// An entry of any level of the page tables (SDM vol. 3A 4.5). An entry that is not zero owns its frame, present or not.
struct PageTableEntry: Equatable {
    var rawValue: UInt64

    @inline(__always)
    init(rawValue: UInt64) { self.rawValue = rawValue }

    static let present: UInt64 = 1 << 0
    static let writable: UInt64 = 1 << 1
    static let user: UInt64 = 1 << 2
    static let uncached: UInt64 = 1 << 4
    static let large: UInt64 = 1 << 7
    static let global: UInt64 = 1 << 8
    /// Software: the frame belongs to the initial file tree or the kernel and is not counted.
    static let borrowed: UInt64 = 1 << 9
    static let noExecute: UInt64 = 1 << 63
    static let addressMask: UInt64 = 0x000F_FFFF_FFFF_F000

    @inline(__always)
    var isEmpty: Bool { rawValue == 0 }
    @inline(__always)
    var isPresent: Bool { rawValue & PageTableEntry.present != 0 }
    @inline(__always)
    var isWritable: Bool { rawValue & PageTableEntry.writable != 0 }
    @inline(__always)
    var isBorrowed: Bool { rawValue & PageTableEntry.borrowed != 0 }
    @inline(__always)
    var address: PhysicalAddress { PhysicalAddress(rawValue & PageTableEntry.addressMask) }
    @inline(__always)
    var frame: Frame { Frame(containing: address) }
    @inline(__always)
    var table: UnsafeMutablePointer<PageTableEntry> { pointer(address.linear) }
}

typealias PageTable = UnsafeMutablePointer<PageTableEntry>

/// Index into the table of `level` (4 = PML4 … 1 = page table).
@inline(__always)
func tableIndex(_ address: UInt64, level: UInt64) -> Int {
    Int(truncatingIfNeeded: (address >> (3 &+ 9 &* level)) & 511)
}

/// The kernel half, set up once.
enum KernelPageTables {
    static func physicalAddress(ofImage address: UInt64) -> PhysicalAddress {
        PhysicalAddress(address &- Layout.kernelImage)
    }

    static var bootRoot: PhysicalAddress { physicalAddress(ofImage: addressOf(kernel_boot_pml4())) }

    /// Maps RAM above 4 GiB (boot.S has mapped the first 4 GiB). Called with the frame allocator running.
    static func mapHighMemory(end: UInt64) -> Bool {
        let directory = kernel_physical_map_pdpt().assumingMemoryBound(to: PageTableEntry.self)
        var at: UInt64 = 4 << 30
        while at < end {
            guard let frame = physicalMemory.allocateZeroed() else { return false }
            let flags = PageTableEntry.present | PageTableEntry.writable
            directory[tableIndex(at, level: 3)] = PageTableEntry(rawValue: frame.address.rawValue | flags)
            let table = frame.words
            for index in 0..<512 {
                table[index] =
                    (at &+ UInt64(index) << 21) | flags | PageTableEntry.large | PageTableEntry.global
                    | PageTableEntry.noExecute
            }
            at &+= 1 << 30
        }
        return true
    }

    /// Gives the image its final protections (text R-X, rodata R--, data RW-), drops the boot identity mapping and turns
    /// global pages on.
    static func protectImage() {
        let table = kernel_image_pt().assumingMemoryBound(to: PageTableEntry.self)
        let textEnd = kernel_text_end_address()
        let dataStart = kernel_data_start_address()
        let end = kernel_end_address()
        var at = kernel_text_start_address()
        while at < end {
            var entry = physicalAddress(ofImage: at).rawValue | PageTableEntry.present | PageTableEntry.global
            if at >= textEnd { entry |= PageTableEntry.noExecute }
            if at >= dataStart { entry |= PageTableEntry.writable }
            table[tableIndex(at, level: 1)] = PageTableEntry(rawValue: entry)
            at &+= pageBytes
        }
        let directory = kernel_image_pd().assumingMemoryBound(to: PageTableEntry.self)
        directory[1] = PageTableEntry(
            rawValue: physicalAddress(ofImage: addressOf(table)).rawValue | PageTableEntry.present
                | PageTableEntry.writable)
        kernel_boot_pml4().assumingMemoryBound(to: PageTableEntry.self)[0] = PageTableEntry(rawValue: 0)
        cpu_write_cr3(bootRoot.rawValue)
    }

    /// Makes the 2 MiB page around a device uncached in the physical map (xAPIC registers, QEMU only).
    static func mapDevice(at address: PhysicalAddress) -> UnsafeMutableRawPointer {
        let directory = kernel_physical_map_pdpt().assumingMemoryBound(to: PageTableEntry.self)
        let table: PageTable = directory[tableIndex(address.rawValue, level: 3)].table
        let index = tableIndex(address.rawValue, level: 2)
        table[index].rawValue |= PageTableEntry.uncached
        cpu_invlpg(address.linear)
        return address.raw
    }
}
