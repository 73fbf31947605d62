import CPU

/// Small kernel objects: powers of two from 32 to 4096 bytes, carved from frames, with a free list a size.
///
/// Frames go back to `physicalMemory` only for the 4096-byte class; the others stay with their size.
struct KernelHeap {
    private var free: InlineArray<8, UInt64> = [0, 0, 0, 0, 0, 0, 0, 0]

    /// Zeroed memory, or nil when RAM is exhausted or `bytes` is over 4096.
    mutating func allocate(_ bytes: Int) -> UnsafeMutableRawPointer? {
        guard bytes <= 4096 else { return nil }
        let sizeClass = KernelHeap.sizeClass(bytes)
        let size = UInt64(32) << UInt64(sizeClass)
        if size == pageBytes { return physicalMemory.allocateZeroed()?.raw }
        if free[sizeClass] == 0 {
            guard let frame = physicalMemory.allocate() else { return nil }
            var at = frame.address.linear
            let end = at &+ pageBytes
            while at < end {
                pointer(at, as: UInt64.self).pointee = free[sizeClass]
                free[sizeClass] = at
                at &+= size
            }
        }
        let object = rawPointer(free[sizeClass])
        free[sizeClass] = object.load(as: UInt64.self)
        object.initializeMemory(as: UInt8.self, repeating: 0, count: Int(size))
        return object
    }

    mutating func release(_ object: UnsafeMutableRawPointer, bytes: Int) {
        let sizeClass = KernelHeap.sizeClass(bytes)
        if sizeClass == 7 {
            physicalMemory.release(Frame(containing: PhysicalAddress(addressOf(object) &- Layout.physicalMap)))
            return
        }
        object.storeBytes(of: free[sizeClass], as: UInt64.self)
        free[sizeClass] = addressOf(object)
    }

    mutating func make<T>(_ type: T.Type) -> UnsafeMutablePointer<T>? {
        allocate(MemoryLayout<T>.size)?.assumingMemoryBound(to: type)
    }

    mutating func destroy<T>(_ object: UnsafeMutablePointer<T>) {
        release(UnsafeMutableRawPointer(object), bytes: MemoryLayout<T>.size)
    }

    @inline(__always)
    private static func sizeClass(_ bytes: Int) -> Int {
        bytes <= 32 ? 0 : 59 &- (bytes &- 1).leadingZeroBitCount
    }
}

nonisolated(unsafe) var kernelHeap = KernelHeap()
