/// What the VMM tells a kernel entered by the vbench boot protocol.
///
/// Machine state at entry (all VMMs): 64-bit long mode, CPL 0, IF = 0, paging on with [0, 4 GiB) mapped to itself
/// in 2 MiB pages, RIP = ELF `e_entry` (a physical address below 4 GiB), RDI = guest-physical address of this
/// structure. CR0 = PE MP ET NE WP PG, CR4 = PAE OSFXSR OSXMMEXCPT, EFER = SCE LME LMA NXE. CS = 0x10 (64-bit code),
/// SS/DS/ES = 0x18 (flat data), no IDT, no TSS: the kernel loads its own.
///
/// All fields are little-endian at natural alignment; the size is 160 bytes. Addresses are guest-physical.
public struct BootInfo: BitwiseCopyable {
    /// "VBENCHBI" read as a little-endian 64-bit number.
    public static let magicValue: UInt64 = 0x4942_4843_4E45_4256
    public static let currentVersion: UInt32 = 1
    /// Tells a kernel booted by PVH its `tscHertz`: a word of the command line, this and a decimal number.
    public static let tscHertzOption: StaticString = "nub.tsc-hertz="

    public var magic: UInt64 = BootInfo.magicValue
    public var version: UInt32 = BootInfo.currentVersion
    public var size: UInt32 = 160
    /// RAM at [0, lowMemoryBytes): at most 3 GiB.
    public var lowMemoryBytes: UInt64 = 0
    /// RAM at [4 GiB, 4 GiB + highMemoryBytes).
    public var highMemoryBytes: UInt64 = 0
    /// newc cpio archive, the initial file tree.
    public var initrdAddress: UInt64 = 0
    public var initrdBytes: UInt64 = 0
    /// Command line, UTF-8, without a terminating zero.
    public var commandLineAddress: UInt64 = 0
    public var commandLineBytes: UInt64 = 0
    public var mailboxAddress: UInt64 = 0
    public var mailboxBytes: UInt64 = 0
    /// TSC frequency in Hz. The TSC starts at any value and is invariant.
    public var tscHertz: UInt64 = 0
    /// Input clock of the local-APIC timer before its divider, in Hz.
    public var apicTimerHertz: UInt64 = 0
    /// Unix time at `bootTSC`, in nanoseconds.
    public var wallClockNanoseconds: UInt64 = 0
    /// Guest TSC at the moment `wallClockNanoseconds` was taken.
    public var bootTSC: UInt64 = 0
    /// Seed of the guest's random numbers (a suite's seed gives the same guest run to run).
    public var randomSeed0: UInt64 = 0
    public var randomSeed1: UInt64 = 0
    /// `BootQuirks` bits.
    public var quirks: UInt64 = 0
    /// Guest physical memory below this address is taken by boot structures until the kernel has read them.
    public var bootAreaEnd: UInt64 = BootLayout.bootAreaEnd
    /// Guest-physical address of the test device (`BootLayout.testDevice`); 0: there is none.
    public var testDeviceAddress: UInt64 = 0
    public var reserved1: UInt64 = 0

    public init() {}
}

/// What a kernel must avoid on this VMM (bits of `BootInfo.quirks`).
///
/// Kernels booted by other protocols find them in EAX of CPUID leaf `cpuidLeaf`, where EBX, ECX and EDX are the signature. On a machine
/// whose CPUID is not vbench's (QEMU) they are a word of the kernel's command line, `commandLineOption` and a decimal number.
public enum BootQuirks {
    /// In the range left to hypervisors (Intel SDM vol. 2, CPUID); KVM's own leaves are below.
    public static let cpuidLeaf: UInt32 = 0x4000_0100
    /// "VBenchQuirks"
    public static let cpuidSignature: (ebx: UInt32, ecx: UInt32, edx: UInt32) = (0x6E65_4256, 0x7551_6863, 0x736B_7269)

    public static let commandLineOption: StaticString = "nub.quirks="

    /// `sysret` does not work: return to ring 3 by `iretq`.
    public static let noSysret: UInt64 = 1 << 0
    /// XSAVE/XRSTOR/XGETBV do not work in ring 0 (they do in ring 3; XCR0 and CR4.OSXSAVE are preset by the VMM).
    public static let noKernelXSave: UInt64 = 1 << 1
    /// XSETBV does not work: XCR0 is what the VMM has set.
    public static let noXSetBV: UInt64 = 1 << 2
    /// RDTSCP, POPCNT, CMPXCHG16B, BMI, MOVBE, CRC32, CLAC/STAC and INVPCID do not work in ring 0.
    public static let basicKernelISA: UInt64 = 1 << 3
    /// SYSCALL loads RIP, RCX, R11 and RFLAGS but leaves CS, SS and CPL as they were in ring 3. If the entry point is in
    /// a supervisor page its fetch faults: a #PF with RIP = CR2 = LSTAR, CS of ring 3, RSP the user's, RCX and R11 as
    /// SYSCALL leaves them. The kernel takes that fault as the system call (and trusts neither RCX nor R11).
    public static let syscallKeepsRing3: UInt64 = 1 << 4
    /// CR4.OSXSAVE stays clear. For KVM without hardware assistance under a VMM that presets no XCR0: as long as the guest has not set
    /// that bit, ring 3 runs with the host's XCR0 and may XSAVE; once it has, with the guest's, which allows x87 only.
    public static let keepOSXSaveClear: UInt64 = 1 << 5
    /// VMCALL and VMMCALL do not complete.
    public static let noHypercall: UInt64 = 1 << 6
}

/// Where the VMM puts things in guest-physical memory. Kernels may use everything else that is RAM.
public enum BootLayout {
    public static let gdt: UInt64 = 0x1000
    /// PML4, then PDPT, then four page directories: six pages.
    public static let pageTables: UInt64 = 0x2000
    public static let bootInfo: UInt64 = 0x8000
    public static let commandLine: UInt64 = 0x9000
    public static let commandLineLimit: UInt64 = 0x1000
    /// Default mailbox; also used when the image is booted by PVH without a `BootInfo`.
    public static let mailbox: UInt64 = 0x1_0000
    public static let mailboxBytes: UInt64 = 0x1_0000
    public static let bootAreaEnd: UInt64 = 0x2_0000
    /// Kernels are linked to load from here upward (ELF p_paddr).
    public static let kernel: UInt64 = 0x20_0000
    /// RAM above this many bytes continues at 4 GiB.
    public static let lowMemoryLimit: UInt64 = 3 << 30
    public static let highMemory: UInt64 = 4 << 30
    /// One page of device memory whose first four bytes read as what was last written there, for measuring what an access costs that
    /// goes to the VMM. In the device hole, away from what PCs have there.
    public static let testDevice: UInt64 = 0xFEDE_0000
}
