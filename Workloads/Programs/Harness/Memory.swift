import Support

/// Fresh anonymous memory in 4 KiB pages: huge pages are declined unless asked for, so that every backend works on the same
/// page size. Freed by `release()`.
struct Memory {
    static let pageBytes = 4096

    private static let hugePageBytes = 2 << 20

    let start: UnsafeMutableRawPointer
    let count: Int
    private let mapped: UnsafeMutableRawPointer
    private let mappedBytes: Int

    /// - Parameter hugePages: Asks for huge pages; then the memory begins at a multiple of their size.
    init(bytes: Int, hugePages: Bool = false) {
        count = (bytes + Self.pageBytes - 1) / Self.pageBytes * Self.pageBytes
        mappedBytes = count + (hugePages ? Self.hugePageBytes : 0)
        let address = mmap(nil, mappedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let address, Int(bitPattern: address) != -1 else { systemError("mmap", Int64(vb_errno())) }
        mapped = address
        start = hugePages ? address.alignedUp(toMultipleOf: Self.hugePageBytes) : address
        // Fails where there are no huge pages; then there is nothing to decline, and nothing to have.
        _ = madvise(start, count, hugePages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE)
    }

    func release() { munmap(mapped, mappedBytes) }

    func words() -> UnsafeMutablePointer<UInt64> { start.assumingMemoryBound(to: UInt64.self) }
    func doubles() -> UnsafeMutablePointer<Double> { start.assumingMemoryBound(to: Double.self) }
}
