import CLinux
import Machine

/// CPUID as guests of the software VMM see it: the host's, without what the VMM does not virtualize.
enum VirtualCPUID {
    struct Leaf {
        var eax: UInt32
        var ebx: UInt32
        var ecx: UInt32
        var edx: UInt32
    }

    /// Whether far pointers of 64 bits and a selector are known: by Intel's CPUs.
    static let hasFarPointers64: Bool = clinux_cpuid(0, 0).ebx == 0x756E_6547  // "Genu"

    /// Whether near branches with an operand-size prefix go to 16-bit addresses: on AMD's CPUs and their kin.
    static let hasNarrowBranches: Bool = [0x6874_7541, 0x6F67_7948].contains(clinux_cpuid(0, 0).ebx)  // "Auth", "Hygo"

    /// Intel SDM vol. 2, CPUID; AMD APM vol. 3, appendix E.
    static func leaf(_ number: UInt32, _ index: UInt32, cpu: VirtualCPU) -> Leaf {
        // "VBenchSWVMM\0" in EBX, ECX, EDX: the hypervisor leaf.
        if number == 0x4000_0000 {
            return Leaf(eax: number, ebx: 0x6E65_4256, ecx: 0x5753_6863, edx: 0x004D_4D56)
        }
        if (0x4000_0001...0x4FFF_FFFF).contains(number) { return Leaf(eax: 0, ebx: 0, ecx: 0, edx: 0) }
        let host = clinux_cpuid(number, index)
        var leaf = Leaf(eax: host.eax, ebx: host.ebx, ecx: host.ecx, edx: host.edx)
        switch number {
        case 1:
            // One logical processor with APIC identifier 0.
            leaf.ebx = leaf.ebx & 0xFF00 | 1 << 16
            // MONITOR, VMX, SMX, PCID, TSC-deadline timer, OSXSAVE (virtual, below).
            leaf.ecx &= ~(1 << 3 | 1 << 5 | 1 << 6 | 1 << 17 | 1 << 24 | 1 << 27)
            // x2APIC, hypervisor present.
            leaf.ecx |= 1 << 21 | 1 << 31
            if cpu.cr4 & 1 << 18 != 0 { leaf.ecx |= 1 << 27 }
            // Machine check, MTRR and HTT are left out.
            leaf.edx &= ~(1 << 7 | 1 << 12 | 1 << 14 | 1 << 28)
        case 5, 6, 0xA, 0xB, 0xF, 0x10, 0x12, 0x14, 0x1F: leaf = Leaf(eax: 0, ebx: 0, ecx: 0, edx: 0)
        case 7 where index == 0:
            // SMEP, INVPCID, RTM and HLE, MPX, resource monitoring, SMAP, processor trace.
            leaf.ebx &=
                ~(1 << 7 | 1 << 10 | 1 << 4 | 1 << 11 | 1 << 14 | 1 << 12 | 1 << 15 | 1 << 20 | 1 << 25)
            // UMIP, protection keys, WAITPKG, shadow stacks, LA57, RDPID, bus-lock detection, MOVDIR64B, ENQCMD.
            leaf.ecx &= ~(1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 16 | 1 << 22 | 1 << 24 | 1 << 28 | 1 << 29)
            // IBT, AMX, architectural LBRs, speculation-control MSRs.
            leaf.edx &=
                ~(1 << 20 | 1 << 22 | 1 << 24 | 1 << 25 | 1 << 19 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 29
                | 1 << 30 | 1 << 31)
        case 0xD where index == 0:
            leaf.eax &= UInt32(truncatingIfNeeded: cpu.hostXCR0)
            leaf.edx = 0
        case 0xD where index == 1:
            // XSAVES is privileged and not virtualized; nor is XGETBV with ECX = 1.
            leaf.eax &= ~(1 << 2 | 1 << 3)
            leaf.ebx = 0
            leaf.ecx = 0
            leaf.edx = 0
        case 0xD where index > 1:
            if index > 62 || cpu.hostXCR0 & 1 << UInt64(index) == 0 {
                leaf = Leaf(eax: 0, ebx: 0, ecx: 0, edx: 0)
            }
        case 0x8000_0001:
            // SVM and its kin, instruction-based sampling, performance extensions.
            leaf.ecx &= ~(1 << 2 | 1 << 3 | 1 << 10 | 1 << 12 | 1 << 23 | 1 << 24 | 1 << 28)
        case 0x8000_0008:
            // One core; 48-bit linear addresses.
            leaf.eax = leaf.eax & 0xFF | 48 << 8
            leaf.ebx &= 1
            leaf.ecx = 0
        case 0x8000_000A, 0x8000_001B...0x8000_001F: leaf = Leaf(eax: 0, ebx: 0, ecx: 0, edx: 0)
        default: break
        }
        return leaf
    }
}
