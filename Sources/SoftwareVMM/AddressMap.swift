import CLinux
import Translator

/// Where guest addresses are in this process.
///
///     guest                       host linear
///     ring 3, va < 8 TiB          va                 direct execution
///     ring 0, any va              window + va        user half: alias at [0x4800…, 0x5000…); kernel half: [0x4000…, 0x4800…)
///     the VMM itself              ≥ 0x5500_0000_0000 where Linux puts executables, heap, libraries and stacks
///
/// A parameter of the engine, not literals, so that other layouts (a high-half Linux kernel) can use other bases.
struct AddressMap: Sendable {
    /// W: host address of guest address 0 as ring 0 sees it.
    var window: UInt64 = 0x4800_0000_0000
    /// Guest user addresses end here.
    var userEnd: UInt64 = 0x0800_0000_0000
    /// Lowest guest address that can be mapped: Linux refuses the first 64 KiB (vm.mmap_min_addr).
    var userBegin: UInt64 = 0x1_0000
    /// Lowest guest address of the kernel half.
    var kernelBegin: UInt64 = 0xFFFF_F800_0000_0000
    /// Host addresses from here up are the VMM's own.
    var vmmBegin: UInt64 = 0x5500_0000_0000
    /// End of user space on hosts with 4-level paging.
    var vmmEnd: UInt64 = 0x7FFF_FFFF_F000

    @inline(__always)
    func supervisorHost(_ address: UInt64) -> UInt64 { window &+ address }

    /// Guest address that ring 0 meant by a host address.
    @inline(__always)
    func guest(ofSupervisorHost address: UInt64) -> UInt64 { address &- window }

    func isUser(_ address: UInt64) -> Bool { address < userEnd }
    func isKernel(_ address: UInt64) -> Bool { address >= kernelBegin }

    /// Bits 63:47 all equal.
    static func isCanonical(_ address: UInt64) -> Bool {
        Int64(bitPattern: address) >> 47 == 0 || Int64(bitPattern: address) >> 47 == -1
    }
}
