import CLinux
import Glibc

/// Hits of tracepoints in one thread, and its leaving the CPU, recorded by the kernel into one buffer in the order in which they
/// happened (perf_event_open(2)).
///
/// `drain` may be called from another thread than the traced one, but from one thread at a time; everything else belongs to
/// the thread that made it.
public final class TraceBuffer: @unchecked Sendable {
    /// What stands in the buffer.
    public enum Record {
        /// A hit: CLOCK_MONOTONIC_RAW in nanoseconds, and the tracepoint's fields. The bytes are only there during the call.
        case hit(nanoseconds: UInt64, fields: UnsafeRawBufferPointer)
        /// The thread left its CPU, or got one.
        case switched(out: Bool, nanoseconds: UInt64)
        /// The buffer was full for this many records.
        case lost(UInt64)
    }

    private let descriptors: [Int32]
    private let names: [String]
    // Invariant: maps one header page and `dataBytes` bytes, a power of two, from init to deinit. The kernel writes to the data, this
    // process only reads it; bytes between tail and head hold whole records.
    private let mapping: UnsafeMutableRawPointer
    private let dataBytes: Int
    // Invariant: as large as the largest record (its size has 16 bits), from init to deinit.
    private let scratch: UnsafeMutableRawPointer
    private var tail: UInt64 = 0
    private var countsAtStart: [UInt64] = []

    private static let pageBytes = 4096

    /// Opens the tracepoints for the calling thread; nothing is recorded before `start`.
    ///
    /// - Parameter bufferBytes: a power of two; half of it and so on down to 128 KiB where the host locks no more memory.
    /// - Throws: `Tracepoint.Unavailable` where the kernel does not let this user.
    public init(_ tracepoints: [Tracepoint], bufferBytes: Int) throws(Tracepoint.Unavailable) {
        var open: [Int32] = []
        for tracepoint in tracepoints {
            let descriptor = clinux_perf_open_tracepoint(UInt64(tracepoint.id), 0, 1, open.isEmpty ? 1 : 0)
            guard descriptor >= 0 else {
                let problem = TracepointCounter.unavailable(tracepoint.name, errno)
                for descriptor in open { close(descriptor) }
                throw problem
            }
            open.append(descriptor)
        }
        var bytes = bufferBytes
        var mapped = Self.map(open[0], bytes)
        while mapped == nil && bytes > 128 << 10 {
            bytes /= 2
            mapped = Self.map(open[0], bytes)
        }
        guard let mapped, open.dropFirst().allSatisfy({ clinux_perf_share_buffer($0, open[0]) == 0 }) else {
            let code = errno
            if let mapped { munmap(mapped, bytes + Self.pageBytes) }
            for descriptor in open { close(descriptor) }
            throw Tracepoint.Unavailable(
                reason: "no buffer for tracepoints: \(String(cString: strerror(code)))",
                remedy: "raise `ulimit -l` or kernel.perf_event_mlock_kb")
        }
        descriptors = open
        names = tracepoints.map(\.name)
        mapping = mapped
        dataBytes = bytes
        scratch = .allocate(byteCount: 1 << 16, alignment: 8)
    }

    deinit {
        scratch.deallocate()
        munmap(mapping, dataBytes + Self.pageBytes)
        for descriptor in descriptors { close(descriptor) }
    }

    private static func map(_ descriptor: Int32, _ bytes: Int) -> UnsafeMutableRawPointer? {
        let mapped = mmap(nil, bytes + pageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        return mapped == MAP_FAILED ? nil : mapped
    }

    /// Records from now on, and counts anew. Not possible in a jail.
    public func start() throws(HostError) {
        countsAtStart = descriptors.map { Self.value($0) ?? 0 }
        for descriptor in descriptors where clinux_perf_enable(descriptor) != 0 {
            throw HostError("start a tracepoint's event")
        }
    }

    /// Records no more. Not possible in a jail, where the end of what is traced does as well.
    public func stop() { for descriptor in descriptors { _ = clinux_perf_disable(descriptor) } }

    /// Hits of each tracepoint since `start` by name, those included that the buffer had no room for.
    public func counts() -> [String: UInt64] {
        var counts: [String: UInt64] = [:]
        for index in descriptors.indices {
            guard let value = Self.value(descriptors[index]) else { continue }
            counts[names[index]] = value - (countsAtStart.isEmpty ? 0 : countsAtStart[index])
        }
        return counts
    }

    private static func value(_ descriptor: Int32) -> UInt64? {
        var value: UInt64 = 0
        return read(descriptor, &value, 8) == 8 ? value : nil
    }

    /// Hands everything recorded so far to `body` and makes room for more. Returns the number of records.
    @discardableResult
    public func drain(_ body: (Record) -> Void) -> Int {
        let data = UnsafeRawPointer(mapping + Self.pageBytes)
        let head = clinux_perf_head(mapping)
        var records = 0
        while tail < head {
            let offset = Int(truncatingIfNeeded: tail) & (dataBytes - 1)
            // Records are multiples of eight bytes, so a header never wraps.
            let header = data.loadUnaligned(fromByteOffset: offset, as: perf_event_header.self)
            let size = Int(header.size)
            guard size >= MemoryLayout<perf_event_header>.size, UInt64(size) <= head - tail else { break }
            var record = data + offset
            if offset + size > dataBytes {
                let first = dataBytes - offset
                memcpy(scratch, record, first)
                memcpy(scratch + first, data, size - first)
                record = UnsafeRawPointer(scratch)
            }
            deliver(header, record, size, body)
            tail += UInt64(size)
            records += 1
        }
        tail = head
        clinux_perf_consumed(mapping, tail)
        return records
    }

    /// Layouts: perf_event_open(2), "mmap layout"; sample_type is TIME and RAW.
    @inline(__always)
    private func deliver(
        _ header: perf_event_header, _ record: UnsafeRawPointer, _ size: Int, _ body: (Record) -> Void
    ) {
        switch header.type {
        case PERF_RECORD_SAMPLE.rawValue where size >= 20:
            let time = record.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
            let bytes = Int(record.loadUnaligned(fromByteOffset: 16, as: UInt32.self))
            body(.hit(nanoseconds: time, fields: .init(start: record + 20, count: min(bytes, size - 20))))
        case PERF_RECORD_SWITCH.rawValue where size >= 16:
            let time = record.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
            body(.switched(out: header.misc & UInt16(PERF_RECORD_MISC_SWITCH_OUT) != 0, nanoseconds: time))
        case PERF_RECORD_LOST.rawValue where size >= 24:
            body(.lost(record.loadUnaligned(fromByteOffset: 16, as: UInt64.self)))
        default: break
        }
    }
}

/// A plain counter of a tracepoint's hits in the thread that made it: what `perf stat -e` counts.
public struct TracepointCounter: ~Copyable {
    private let descriptor: FileDescriptor

    /// Counts from now on.
    ///
    /// - Throws: `Tracepoint.Unavailable` where the kernel does not let this user.
    public init(_ tracepoint: Tracepoint) throws(Tracepoint.Unavailable) {
        let raw = clinux_perf_open_tracepoint(UInt64(tracepoint.id), 0, 0, 0)
        guard raw >= 0 else { throw Self.unavailable(tracepoint.name, errno) }
        let owner = FileDescriptor(owning: raw)
        guard clinux_perf_enable(raw) == 0 else { throw Self.unavailable(tracepoint.name, errno) }
        descriptor = owner
    }

    /// Hits so far; nil when the kernel does not say.
    public var count: UInt64? {
        var value: UInt64 = 0
        return read(descriptor.rawValue, &value, 8) == 8 ? value : nil
    }

    static func unavailable(_ name: String, _ code: Int32) -> Tracepoint.Unavailable {
        switch code {
        case EACCES, EPERM:
            let paranoid = HostFile.text("/proc/sys/kernel/perf_event_paranoid") ?? "?"
            return Tracepoint.Unavailable(
                reason: "this user may not trace \(name) (kernel.perf_event_paranoid is \(paranoid))",
                remedy: "run as root, or with CAP_PERFMON, or `sysctl kernel.perf_event_paranoid=-1`")
        default:
            return Tracepoint.Unavailable(
                reason: "perf_event_open of \(name): \(String(cString: strerror(code)))",
                remedy: "see perf_event_open(2)")
        }
    }
}
