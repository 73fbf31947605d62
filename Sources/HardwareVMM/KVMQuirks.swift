import GuestInterface
import Host

extension KVMFlavour {
    /// `BootQuirks` bits. An unknown flavour gets the cautious set, which works everywhere at some cost.
    public var quirks: UInt64 {
        switch self {
        case .intel, .amd: 0
        case .pvm, .unknown:
            BootQuirks.noSysret | BootQuirks.noKernelXSave | BootQuirks.noXSetBV | BootQuirks.basicKernelISA
                | BootQuirks.syscallKeepsRing3 | BootQuirks.noHypercall
        }
    }

    /// Whether the kernel cannot XSETBV, so that the VMM presets XCR0 and CR4.OSXSAVE.
    var needsPresetXCR0: Bool { quirks & BootQuirks.noXSetBV != 0 }
}
