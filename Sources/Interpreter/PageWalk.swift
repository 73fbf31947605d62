import Machine

/// Page-table walks of every paging mode (Intel SDM vol. 3, 4.3 to 4.5), at CPL 0.
extension Interpreter {
    private enum Entry {
        static let present: UInt64 = 1 << 0
        static let writable: UInt64 = 1 << 1
        static let accessed: UInt64 = 1 << 5
        static let dirty: UInt64 = 1 << 6
        static let large: UInt64 = 1 << 7
        static let noExecute: UInt64 = 1 << 63
        static let address: UInt64 = 0x000F_FFFF_FFFF_F000
    }

    /// The page that `linear` is in, with accessed and dirty bits set as the CPU does. Throws the page fault of the access.
    func walk(_ linear: UInt64, write: Bool, execute: Bool) throws(Interruption) -> (page: UInt64, executable: Bool) {
        guard isPaged else { return (linear & ~0xFFF, true) }
        if cr4 & Control.physicalAddressExtension == 0 { return try walk32(linear, write: write, execute: execute) }
        let hasNoExecute = efer & Control.noExecuteEnable != 0
        func fault(present: Bool) -> Interruption {
            pageFault(linear, write: write, execute: execute && hasNoExecute, present: present)
        }
        var table: UInt64
        var shift: UInt64
        if isLongModeActive {
            (table, shift) = (cr3 & Entry.address, 39)
        } else {
            let pointer = directoryPointer(Int(linear >> 30 & 3))
            guard pointer & Entry.present != 0 else { throw fault(present: false) }
            (table, shift) = (pointer & Entry.address, 21)
        }
        var writable = true
        var executable = true
        // The entries on the way are only marked once the access is known to be allowed.
        var passed: (UnsafeMutablePointer<UInt64>?, UnsafeMutablePointer<UInt64>?, UnsafeMutablePointer<UInt64>?)
        while true {
            // A table outside RAM reads as not present.
            guard let page = bus.page(at: table, forWriting: true) else { throw fault(present: false) }
            let slot = page.assumingMemoryBound(to: UInt64.self) + Int(linear >> shift & 511)
            let entry = slot.pointee
            guard entry & Entry.present != 0 else { throw fault(present: false) }
            writable = writable && entry & Entry.writable != 0
            executable = executable && !(hasNoExecute && entry & Entry.noExecute != 0)
            let isLeaf = shift == 12 || (shift <= 30 && entry & Entry.large != 0)
            guard isLeaf else {
                passed = (slot, passed.0, passed.1)
                table = entry & Entry.address
                shift -= 9
                continue
            }
            guard !write || writable || cr0 & Control.writeProtect == 0, !execute || executable else {
                throw fault(present: true)
            }
            slot.pointee |= Entry.accessed | (write ? Entry.dirty : 0)
            passed.0?.pointee |= Entry.accessed
            passed.1?.pointee |= Entry.accessed
            passed.2?.pointee |= Entry.accessed
            let mask = (UInt64(1) << shift) - 1
            return ((entry & Entry.address & ~mask | linear & mask) & ~0xFFF, executable)
        }
    }

    /// Two levels of 32-bit entries, 4 MiB pages with CR4.PSE.
    private func walk32(_ linear: UInt64, write: Bool, execute: Bool) throws(Interruption) -> (UInt64, Bool) {
        func fault(present: Bool) -> Interruption { pageFault(linear, write: write, execute: false, present: present) }
        func slot(_ table: UInt64, _ index: UInt64) -> UnsafeMutablePointer<UInt32>? {
            bus.page(at: table & 0xFFFF_F000, forWriting: true).map {
                $0.assumingMemoryBound(to: UInt32.self) + Int(index)
            }
        }
        let isAlwaysWritable = cr0 & Control.writeProtect == 0
        guard let upper = slot(cr3, linear >> 22), upper.pointee & 1 != 0 else { throw fault(present: false) }
        if upper.pointee & UInt32(Entry.large) != 0, cr4 & Control.pageSizeExtensions != 0 {
            guard !write || upper.pointee & 2 != 0 || isAlwaysWritable else { throw fault(present: true) }
            upper.pointee |= UInt32(Entry.accessed | (write ? Entry.dirty : 0))
            // Bits 20:13 are address bits 39:32 (PSE-36).
            let base = UInt64(upper.pointee & 0xFFC0_0000) | UInt64(upper.pointee >> 13 & 0xFF) << 32
            return (base | linear & 0x3F_F000, true)
        }
        guard let lower = slot(UInt64(upper.pointee), linear >> 12 & 1023), lower.pointee & 1 != 0 else {
            throw fault(present: false)
        }
        guard !write || upper.pointee & lower.pointee & 2 != 0 || isAlwaysWritable else { throw fault(present: true) }
        upper.pointee |= UInt32(Entry.accessed)
        lower.pointee |= UInt32(Entry.accessed | (write ? Entry.dirty : 0))
        return (UInt64(lower.pointee & 0xFFFF_F000), true)
    }

    /// Error code: P, W/R, U/S (never: CPL 0), I/D (Intel SDM vol. 3, 4.7).
    private func pageFault(_ linear: UInt64, write: Bool, execute: Bool, present: Bool) -> Interruption {
        .exception(
            ProcessorException(
                vector: 14, errorCode: (present ? 1 : 0) | (write ? 2 : 0) | (execute ? 16 : 0), address: linear))
    }

    private func directoryPointer(_ index: Int) -> UInt64 {
        switch index {
        case 0: directoryPointers.0
        case 1: directoryPointers.1
        case 2: directoryPointers.2
        default: directoryPointers.3
        }
    }

    /// Loads PAE's four top-level entries. False: a reserved bit is set, which is a #GP.
    func loadDirectoryPointers(_ root: UInt64) -> Bool {
        let table = root & 0xFFFF_FFE0
        var loaded: [UInt64] = [0, 0, 0, 0]
        if let page = bus.page(at: table & ~0xFFF, forWriting: false) {
            for index in 0..<4 {
                loaded[index] = (page + Int(table & 0xFFF) + index * 8).loadUnaligned(as: UInt64.self)
            }
        }
        // Bits 2:1, 8:5 and above the physical address are reserved in a present entry.
        guard loaded.allSatisfy({ $0 & 1 == 0 || $0 & 0xFFF0_0000_0000_01E6 == 0 }) else { return false }
        directoryPointers = (loaded[0], loaded[1], loaded[2], loaded[3])
        return true
    }
}
