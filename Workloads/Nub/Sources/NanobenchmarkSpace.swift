import CPU

/// An address space for nanobenchmarks: the kernel half, and a window of 2 MiB in pages of 4 KiB that are not global.
///
///     page 0 … 63      frames of RAM: the working set
///     page 64          never mapped
///     page 128 … 511   pages never used before, a batch at a time
struct NanobenchmarkSpace {
    static let window: UInt64 = 0xFFFF_FA00_0000_0000
    static let workingSetPages = 64
    static let unmappedAddress = window + 64 * pageBytes
    static let firstColdPage = 128
    static let coldPages = 512 - firstColdPage
    /// Software may use it as it likes (SDM vol. 3A 4.5).
    static let ignoredBit: UInt64 = 1 << 10
    private static let dirty: UInt64 = 1 << 6
    private static let flags = PageTableEntry.present | PageTableEntry.writable | PageTableEntry.noExecute
    /// Tables, working set, stack.
    private static let framesNeeded: UInt64 = 4 + 64 + 1

    private let root: Frame
    /// Entries of the window's pages.
    let table: PageTable
    /// Of a second context that runs in this address space.
    let stackTop: UInt64

    var cr3: UInt64 { root.address.rawValue }

    /// Nil where RAM is too short.
    init?() {
        guard physicalMemory.freeFrames >= Self.framesNeeded, let root = physicalMemory.allocateZeroed(),
            let pointers = physicalMemory.allocateZeroed(), let directory = physicalMemory.allocateZeroed(),
            let table = physicalMemory.allocateZeroed(), let stack = physicalMemory.allocate()
        else { return nil }
        let kernel = kernel_boot_pml4().assumingMemoryBound(to: UInt64.self)
        root.words[496] = kernel[496]
        root.words[511] = kernel[511]
        let link = PageTableEntry.present | PageTableEntry.writable
        root.words[tableIndex(Self.window, level: 4)] = pointers.address.rawValue | link
        pointers.words[tableIndex(Self.window, level: 3)] = directory.address.rawValue | link
        directory.words[tableIndex(Self.window, level: 2)] = table.address.rawValue | link
        for page in 0..<Self.workingSetPages {
            guard let frame = physicalMemory.allocateZeroed() else { return nil }
            table.words[page] = frame.address.rawValue | Self.flags
        }
        self.root = root
        self.table = pointer(table.address.linear)
        stackTop = stack.address.linear &+ pageBytes
    }

    /// Runs `body` in this address space. Nothing of the program's can be reached in it.
    @inline(__always)
    func enter<Result>(_ body: () -> Result) -> Result {
        let usual = cpu_read_cr3()
        cpu_write_cr3(cr3)
        defer { cpu_write_cr3(usual) }
        return body()
    }

    // MARK: Pages never used before

    /// Maps so many of them, at most `coldPages`. False: there are no more.
    func mapColdPages(_ count: Int) -> Bool {
        for page in Self.firstColdPage..<(Self.firstColdPage + count) {
            guard let frame = physicalMemory.allocateUntouched() else { return false }
            table[page] = PageTableEntry(rawValue: frame.address.rawValue | Self.flags)
        }
        return true
    }

    /// Gives all of them back. Returns how many the CPU has written to.
    func unmapColdPages() -> UInt64 {
        var written: UInt64 = 0
        for page in Self.firstColdPage..<512 where !table[page].isEmpty {
            if table[page].rawValue & Self.dirty != 0 { written &+= 1 }
            physicalMemory.release(table[page].frame)
            table[page] = PageTableEntry(rawValue: 0)
        }
        cpu_write_cr3(cr3)
        return written
    }
}
