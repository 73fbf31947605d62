/// Why a machine could not be set up, or what its guest did that the machine does not accept.
public enum MachineError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A host system call failed.
    case system(operation: String, errno: Int32, message: String)
    /// The machine's configuration asks for something impossible.
    case invalidConfiguration(String)
    /// The file is not a kernel that can be loaded.
    case invalidKernel(path: String, reason: String)
    /// The guest's boot image does not fit into its memory.
    case outOfGuestMemory(neededBytes: UInt64, availableBytes: UInt64, purpose: String)
    /// An access outside guest RAM.
    case badGuestAddress(GuestPhysicalAddress, bytes: UInt64)
    /// The guest broke the mailbox protocol.
    case invalidMailbox(String)
    /// The host cannot run this kind of machine.
    case unavailable(reason: String, remedy: String)

    public var description: String {
        switch self {
        case .system(let operation, let errno, let message):
            "\(operation): \(message) (errno \(errno))"
        case .invalidConfiguration(let reason):
            reason
        case .invalidKernel(let path, let reason):
            "\(path) is not a kernel vbench can boot: \(reason)"
        case .outOfGuestMemory(let needed, let available, let purpose):
            "\(purpose) does not fit: the guest needs \(Self.mebibytes(needed)) MiB, it has \(available >> 20) MiB;"
                + " give it more memory"
        case .badGuestAddress(let address, let bytes):
            "guest-physical [0x\(String(address.rawValue, radix: 16)), +\(bytes)) is not in guest RAM"
        case .invalidMailbox(let reason):
            "the guest broke the mailbox protocol: \(reason)"
        case .unavailable(let reason, let remedy):
            "\(reason); \(remedy)"
        }
    }

    /// Rounded up, so that the figure is one that suffices.
    private static func mebibytes(_ bytes: UInt64) -> UInt64 { bytes >> 20 + (bytes & 0xF_FFFF == 0 ? 0 : 1) }
}
