import CPU

/// Access to the memory of the current process from ring 0.
///
/// Ranges are checked against `Layout.userEnd`; pages come in through the page-fault handler; what it cannot resolve ends
/// the copy (memory.S), and the call returns EFAULT.
enum UserMemory {
    @inline(__always)
    static func isValid(_ address: UInt64, _ bytes: UInt64) -> Bool {
        address <= Layout.userEnd && bytes <= Layout.userEnd &- address
    }

    @inline(__always)
    static func copyOut(_ destination: UInt64, _ source: UnsafeRawPointer, _ bytes: UInt64) -> Bool {
        isValid(destination, bytes) && user_copy(destination, addressOf(source), bytes) == 0
    }

    @inline(__always)
    static func copyIn(_ destination: UnsafeMutableRawPointer, _ source: UInt64, _ bytes: UInt64) -> Bool {
        isValid(source, bytes) && user_copy(addressOf(destination), source, bytes) == 0
    }

    static func zero(_ destination: UInt64, _ bytes: UInt64) -> Bool {
        isValid(destination, bytes) && user_zero(destination, bytes) == 0
    }

    /// Stores a plain value.
    @inline(__always)
    static func store<T>(_ value: T, at address: UInt64) -> Bool {
        withUnsafeBytes(of: value) {
            copyOut(address, $0.baseAddress.unsafelyUnwrapped, UInt64(MemoryLayout<T>.size))
        }
    }

    /// Loads a plain value over `value`.
    @inline(__always)
    static func load<T>(_ value: inout T, from address: UInt64) -> Bool {
        withUnsafeMutableBytes(of: &value) {
            copyIn($0.baseAddress.unsafelyUnwrapped, address, UInt64(MemoryLayout<T>.size))
        }
    }

    static func load64(_ address: UInt64) -> UInt64? {
        var value: UInt64 = 0
        return load(&value, from: address) ? value : nil
    }

    /// Copies a zero-terminated path into `buffer` (KERNEL_PATH_BYTES). Its length, or a negative error number.
    static func copyPath(_ address: UInt64, _ buffer: UnsafeMutablePointer<UInt8>) -> Int {
        if address >= Layout.userEnd { return -EFAULT }
        var limit = Layout.userEnd &- address
        if limit > UInt64(KERNEL_PATH_BYTES) { limit = UInt64(KERNEL_PATH_BYTES) }
        let length = user_string_length(address, limit)
        if length < 0 { return -EFAULT }
        if UInt64(length) == limit { return -ENAMETOOLONG }
        if user_copy(addressOf(buffer), address, UInt64(length) &+ 1) != 0 { return -EFAULT }
        buffer[Int(length)] = 0
        return Int(length)
    }
}
