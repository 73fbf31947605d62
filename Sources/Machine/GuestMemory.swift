import CLinux
import CNuma
import Glibc
import GuestInterface

/// Guest RAM: one sealed memfd, mapped once in this process.
///
///     guest-physical                     memfd offset
///     [0, lowBytes)                      [0, lowBytes)           lowBytes = min(bytes, 3 GiB)
///     [3 GiB, 4 GiB)  device space       —
///     [4 GiB, 4 GiB + highBytes)         [lowBytes, bytes)
///
/// Safety: `base` maps exactly `bytes` bytes from init to deinit and the file's size is sealed, so every access that
/// `pointer(to:count:)` has checked stays inside the mapping and cannot raise SIGBUS. Contents are shared with guest
/// code, which may change them at any time: read once, then check.
public final class GuestMemory: @unchecked Sendable {
    /// What /proc/PID/fd calls the memory, behind `/memfd:`.
    public static let memoryName = "vbench-guest-ram"

    /// The memfd. Owned by this object: map it, do not close it.
    public let fileDescriptor: Int32
    /// RAM in bytes.
    public let bytes: UInt64
    /// RAM at [0, lowBytes).
    public let lowBytes: UInt64
    /// RAM at [4 GiB, 4 GiB + highBytes).
    public let highBytes: UInt64
    /// Host address of file offset 0.
    public let base: UnsafeMutableRawPointer

    /// RAM of `bytes` bytes, all zero; pages are taken from the host as they are touched.
    ///
    /// - Parameter numaNode: node that pages must come from, or nil for the toucher's.
    /// - Throws: `invalidConfiguration` unless `bytes` is a positive multiple of 4 KiB and the node exists; `system`
    ///   when the host refuses.
    public init(bytes: UInt64, numaNode: Int? = nil) throws(MachineError) {
        guard bytes > 0, bytes % 4096 == 0, bytes <= 1 << 46 else {
            throw .invalidConfiguration("guest memory of \(bytes) bytes: must be a positive multiple of 4096")
        }
        let descriptor = clinux_sealed_memfd(Self.memoryName, UInt(bytes))
        guard descriptor >= 0 else { throw .last("memfd_create for \(bytes >> 20) MiB of guest memory") }
        // MAP_NORESERVE: the guest may have more RAM than it ever touches.
        guard
            let mapping = mmap(
                nil, Int(bytes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, descriptor, 0),
            mapping != MAP_FAILED
        else {
            let error = MachineError.last("mmap of \(bytes >> 20) MiB of guest memory")
            close(descriptor)
            throw error
        }
        if let numaNode {
            do {
                try Self.bind(mapping, bytes: bytes, to: numaNode)
            } catch {
                munmap(mapping, Int(bytes))
                close(descriptor)
                throw error
            }
        }
        fileDescriptor = descriptor
        self.bytes = bytes
        lowBytes = min(bytes, BootLayout.lowMemoryLimit)
        highBytes = bytes - lowBytes
        base = mapping
    }

    deinit {
        munmap(base, Int(bytes))
        close(fileDescriptor)
    }

    /// Offset in the memfd of a byte of RAM; nil for device space and beyond.
    @inline(__always)
    public func fileOffset(of address: GuestPhysicalAddress) -> UInt64? {
        let raw = address.rawValue
        if raw < lowBytes { return raw }
        guard raw >= BootLayout.highMemory, raw - BootLayout.highMemory < highBytes else { return nil }
        return lowBytes + (raw - BootLayout.highMemory)
    }

    /// Host pointer to `count` bytes of RAM; nil when any of them is not RAM.
    @inline(__always)
    public func pointer(to address: GuestPhysicalAddress, count: UInt64) -> UnsafeMutableRawPointer? {
        let raw = address.rawValue
        if raw < lowBytes {
            return count <= lowBytes - raw ? base + Int(raw) : nil
        }
        guard raw >= BootLayout.highMemory, raw - BootLayout.highMemory < highBytes else { return nil }
        let offset = raw - BootLayout.highMemory
        return count <= highBytes - offset ? base + Int(lowBytes + offset) : nil
    }

    /// A value from RAM, at any alignment. Throws `badGuestAddress`.
    public func read<T: BitwiseCopyable>(_ type: T.Type = T.self, at address: GuestPhysicalAddress)
        throws(MachineError) -> T
    {
        let count = UInt64(MemoryLayout<T>.size)
        guard let source = pointer(to: address, count: count) else {
            throw .badGuestAddress(address, bytes: count)
        }
        return source.loadUnaligned(as: T.self)
    }

    /// Stores a value to RAM, at any alignment. Throws `badGuestAddress`.
    public func write<T: BitwiseCopyable>(_ value: T, at address: GuestPhysicalAddress) throws(MachineError) {
        let count = UInt64(MemoryLayout<T>.size)
        guard let target = pointer(to: address, count: count) else {
            throw .badGuestAddress(address, bytes: count)
        }
        target.storeBytes(of: value, as: T.self)
    }

    /// A copy of `count` bytes of RAM. Throws `badGuestAddress`.
    public func readBytes(at address: GuestPhysicalAddress, count: UInt64) throws(MachineError) -> [UInt8] {
        guard let source = pointer(to: address, count: count) else {
            throw .badGuestAddress(address, bytes: count)
        }
        return [UInt8](UnsafeRawBufferPointer(start: source, count: Int(count)))
    }

    /// Copies `source` to RAM. Throws `badGuestAddress`.
    public func write(bytes source: UnsafeRawBufferPointer, at address: GuestPhysicalAddress) throws(MachineError) {
        guard let target = pointer(to: address, count: UInt64(source.count)) else {
            throw .badGuestAddress(address, bytes: UInt64(source.count))
        }
        if let start = source.baseAddress { target.copyMemory(from: start, byteCount: source.count) }
    }

    /// Asks the host for transparent huge pages, where it gives them to shared memory. Advice: refusal changes nothing.
    public func adviseHugePages() { _ = madvise(base, Int(bytes), MADV_HUGEPAGE) }

    private static func bind(_ mapping: UnsafeMutableRawPointer, bytes: UInt64, to node: Int) throws(MachineError) {
        guard numa_available() >= 0 else {
            throw .invalidConfiguration("NUMA node \(node) asked for, but this kernel has no NUMA support")
        }
        guard node >= 0, node <= Int(numa_max_node()), let mask = numa_allocate_nodemask() else {
            throw .invalidConfiguration("there is no NUMA node \(node); the last one is \(numa_max_node())")
        }
        defer { numa_bitmask_free(mask) }
        numa_bitmask_setbit(mask, UInt32(node))
        guard mbind(mapping, UInt(bytes), MPOL_BIND, mask.pointee.maskp, mask.pointee.size + 1, 0) == 0 else {
            throw .last("mbind of guest memory to NUMA node \(node)")
        }
    }
}

extension MachineError {
    /// `system` with the thread's errno. Call right after the failing call.
    public static func last(_ operation: String) -> MachineError {
        let code = errno
        return .system(operation: operation, errno: code, message: String(cString: strerror(code)))
    }
}
