import GuestInterface

/// A page of device memory with one register, so that guests can measure an access that goes to the VMM. Both VMMs have it.
///
/// The register is 32 bits at offset 0: it reads as what was last written, zero at first. Bytes of an access that lie elsewhere read as
/// zero, and are dropped when written. Reading has no effect.
public struct TestDevice: Sendable {
    public static let bytes: UInt64 = 0x1000
    private static let registerBytes = 4

    private var register: UInt32 = 0

    public init() {}

    /// Whether this address is in the device's page.
    @inline(__always)
    public static func contains(_ address: GuestPhysicalAddress) -> Bool {
        address.rawValue >= BootLayout.testDevice && address.rawValue < BootLayout.testDevice + bytes
    }

    /// The low `size` (1 to 8) bytes of what is there, the rest zero.
    public func read(_ address: GuestPhysicalAddress, size: Int) -> UInt64 {
        let offset = address.rawValue - BootLayout.testDevice
        guard offset < Self.registerBytes else { return 0 }
        return UInt64(register) >> (8 * offset) & Self.mask(size)
    }

    /// Stores the low `size` (1 to 8) bytes of `value`.
    public mutating func write(_ address: GuestPhysicalAddress, size: Int, value: UInt64) {
        let offset = address.rawValue - BootLayout.testDevice
        guard offset < Self.registerBytes else { return }
        let mask = UInt32(truncatingIfNeeded: Self.mask(size) << (8 * offset))
        register = register & ~mask | UInt32(truncatingIfNeeded: value << (8 * offset)) & mask
    }

    private static func mask(_ size: Int) -> UInt64 { size >= 8 ? .max : 1 << UInt64(8 * size) - 1 }
}
