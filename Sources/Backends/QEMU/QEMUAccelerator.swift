import GuestInterface
import HardwareVMM
import Host

/// What runs the guest's instructions in QEMU, with the machine of QEMU's that suits it.
enum QEMUAccelerator: Equatable {
    /// QEMU's emulator, on a PC.
    case tcg
    /// KVM of this flavour, on QEMU's microvm: its firmware is done after a few instructions. A PC's takes KVM that emulates 16-bit code
    /// longer than a trial lasts.
    case kvm(KVMFlavour)

    /// QEMU's options for it.
    var arguments: [String] {
        switch self {
        case .tcg: ["-accel", "tcg", "-cpu", "max", "-machine", "pc,memory-backend=ram"]
        case .kvm(let flavour):
            // KVM without hardware assistance names IA32_ARCH_CAPABILITIES among its MSRs and takes no value for it; QEMU then aborts.
            [
                "-accel", "kvm", "-cpu", flavour.isHardwareAssisted ? "host" : "host,-arch-capabilities",
                "-machine", "microvm,memory-backend=ram",
            ]
        }
    }

    /// What the guest's kernel must avoid (`BootQuirks`), as QEMU does not tell it.
    var quirks: UInt64 {
        guard case .kvm(let flavour) = self, flavour.quirks != 0 else { return 0 }
        // Nobody presets XCR0 here.
        return flavour.quirks | BootQuirks.keepOSXSaveClear
    }

    /// Whether the guest reads the host's TSC as it is. Otherwise it counts from 0 at the machine's start: QEMU's `cpu_get_ticks`, or what
    /// QEMU sets KVM's vCPU to. KVM without hardware assistance has no offset to set.
    var sharesTSC: Bool {
        guard case .kvm(let flavour) = self else { return false }
        return !flavour.isHardwareAssisted
    }

    /// First line of QEMU's standard error when KVM gives a guest up: QEMU stops the machine then, and does not end (kvm_handle_internal_error
    /// in QEMU's accel/kvm/kvm-all.c).
    static let internalErrorText = "KVM internal error"
}
