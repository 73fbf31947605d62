import Support

/// Fresh anonymous memory in 4 KiB pages: huge pages are declined, so that every backend works on the same page size.
/// Freed by `release()`.
struct Memory {
    static let pageBytes = 4096

    let start: UnsafeMutableRawPointer
    let count: Int

    init(bytes: Int) {
        count = (bytes + Self.pageBytes - 1) / Self.pageBytes * Self.pageBytes
        let address = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let address, Int(bitPattern: address) != -1 else { systemError("mmap", Int64(vb_errno())) }
        // Fails where there are no huge pages; then there is nothing to decline.
        _ = madvise(address, count, MADV_NOHUGEPAGE)
        start = address
    }

    func release() { munmap(start, count) }

    func words() -> UnsafeMutablePointer<UInt64> { start.assumingMemoryBound(to: UInt64.self) }
    func doubles() -> UnsafeMutablePointer<Double> { start.assumingMemoryBound(to: Double.self) }
}
