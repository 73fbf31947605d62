import CLinux
import Glibc

/// Which vendor module drives /dev/kvm here. It decides what a figure means and what guest kernels must avoid.
public enum KVMFlavour: String, Sendable, Codable, CaseIterable {
    /// VT-x.
    case intel
    /// AMD-V.
    case amd
    /// Page-table based VM: guest ring 3 runs directly, guest ring 0 is emulated. No hardware assistance.
    case pvm
    case unknown

    /// The flavour of this host.
    public static func detect() -> KVMFlavour {
        // Vendor modules exclude one another: the second to load fails with EEXIST.
        if present("kvm_pvm") { return .pvm }
        if present("kvm_intel") { return .intel }
        if present("kvm_amd") { return .amd }
        return .unknown
    }

    private static func present(_ module: String) -> Bool { access("/sys/module/\(module)", F_OK) == 0 }

    /// Whether the CPU's virtualization extensions run the guest.
    public var isHardwareAssisted: Bool { self == .intel || self == .amd }

    /// One line for reports: flavour, assistance, nesting.
    public var detail: String {
        let nested = HostCPU.isVirtual ? ", nested in another hypervisor" : ""
        return switch self {
        case .intel: "KVM flavour intel (VT-x)\(nested)"
        case .amd: "KVM flavour amd (AMD-V)\(nested)"
        case .pvm: "KVM flavour pvm, not hardware-assisted: guest ring 0 is emulated"
        case .unknown: "KVM flavour unknown, taken as not hardware-assisted"
        }
    }
}
