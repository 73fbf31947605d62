import CLinux
import Glibc
import Host
import Machine

/// Owns /dev/kvm.
public struct KVMSystem: ~Copyable {
    let descriptor: FileDescriptor
    /// KVM_GET_API_VERSION; 12 since Linux 2.6.22.
    public let apiVersion: Int32

    /// Opens /dev/kvm. Throws `unavailable`, saying what is missing and the remedy.
    public init() throws(MachineError) {
        guard let descriptor = FileDescriptor.open("/dev/kvm", O_RDWR) else {
            throw Self.unavailable(errno: errno)
        }
        let version = clinux_kvm_api_version(descriptor.rawValue)
        guard version == 12 else {
            throw .unavailable(
                reason: "/dev/kvm speaks API version \(version), vbench needs 12",
                remedy: "boot a kernel from 2.6.22 on, or check what /dev/kvm is")
        }
        self.descriptor = descriptor
        apiVersion = version
    }

    /// What a failure to open /dev/kvm means to the person.
    static func unavailable(errno code: Int32) -> MachineError {
        switch code {
        case ENOENT, ENODEV, ENXIO:
            .unavailable(
                reason: "there is no usable /dev/kvm (\(String(cString: strerror(code))))",
                remedy: "load kvm_intel or kvm_amd with virtualization enabled in the firmware;"
                    + " in a VM, enable nested virtualization; in a container, pass --device /dev/kvm")
        case EACCES, EPERM:
            .unavailable(
                reason: "no permission for /dev/kvm",
                remedy: "join the group that owns it (usually `sudo usermod -aG kvm $USER`, then log in again)")
        default:
            .unavailable(
                reason: "/dev/kvm does not open: \(String(cString: strerror(code)))", remedy: "see `dmesg`")
        }
    }

    /// Value of a capability (0: absent).
    func capability(_ number: Int32) -> Int32 { clinux_kvm_check_extension(descriptor.rawValue, number) }

    /// CPUID entries this KVM can give a guest (api.rst 4.46).
    func supportedCPUID() throws(MachineError) -> CPUIDTable {
        var capacity = 128
        while capacity <= 4096 {
            let table = CPUIDTable(capacity: capacity)
            if clinux_kvm_supported_cpuid(descriptor.rawValue, table.header) == 0 { return table }
            guard errno == E2BIG else { throw .last("KVM_GET_SUPPORTED_CPUID") }
            capacity *= 2
        }
        throw .last("KVM_GET_SUPPORTED_CPUID")
    }
}

/// A `kvm_cpuid2` with its entries.
///
/// Invariant: `header` is followed by room for `capacity` entries, and KVM keeps `nent` at most that.
final class CPUIDTable {
    let header: UnsafeMutablePointer<kvm_cpuid2>
    private let raw: UnsafeMutableRawPointer
    private let capacity: Int

    init(capacity: Int) {
        let bytes = MemoryLayout<kvm_cpuid2>.size + capacity * MemoryLayout<kvm_cpuid_entry2>.stride
        raw = .allocate(byteCount: bytes, alignment: 8)
        memset(raw, 0, bytes)
        header = raw.bindMemory(to: kvm_cpuid2.self, capacity: 1)
        header.pointee.nent = UInt32(capacity)
        self.capacity = capacity
    }

    deinit { raw.deallocate() }

    var entries: UnsafeMutableBufferPointer<kvm_cpuid_entry2> {
        let first = (raw + MemoryLayout<kvm_cpuid2>.size).assumingMemoryBound(to: kvm_cpuid_entry2.self)
        return UnsafeMutableBufferPointer(start: first, count: min(Int(header.pointee.nent), capacity))
    }

    /// Adds an entry; a full table stays as it is.
    func append(_ entry: kvm_cpuid_entry2) {
        guard Int(header.pointee.nent) < capacity else { return }
        header.pointee.nent += 1
        entries[entries.count - 1] = entry
    }

    /// The first entry of `leaf`, subleaf `index`.
    func entry(_ leaf: UInt32, _ index: UInt32 = 0) -> kvm_cpuid_entry2? {
        entries.first { $0.function == leaf && ($0.index == index || $0.flags & 1 == 0) }
    }
}
