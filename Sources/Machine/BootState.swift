/// Register state in which a VMM enters a kernel. The defaults are those of the vbench protocol (see `BootInfo`).
public struct BootState: Sendable, Equatable {
    public var rip: UInt64
    public var rax: UInt64 = 0
    public var rbx: UInt64 = 0
    /// vbench protocol: guest-physical address of the `BootInfo`.
    public var rdi: UInt64 = 0
    /// Only bit 1, which always reads as one: IF = 0.
    public var rflags: UInt64 = 0x2
    /// PE MP ET NE WP PG (Intel SDM vol. 3, 2.5).
    public var cr0: UInt64 = 0x8001_0033
    public var cr3: UInt64 = 0
    /// PAE OSFXSR OSXMMEXCPT.
    public var cr4: UInt64 = 0x620
    /// SCE LME LMA NXE (Intel SDM vol. 3, 2.2.1).
    public var efer: UInt64 = 0xD01
    public var gdtBase: UInt64
    public var gdtLimit: UInt16
    public var code = SegmentRegister.code64(0x10)
    /// SS, DS, ES, FS, GS.
    public var data = SegmentRegister.data(0x18)
    /// A busy 32-bit TSS at 0, 0x67 its limit, as PVH wants it; nobody uses it.
    public var task = SegmentRegister(selector: 0, limit: 0x67, attributes: 0x8B)
    /// Whether the local APIC starts in x2APIC mode.
    public var startsInX2APICMode = true

    /// The state of the vbench protocol.
    public init(rip: UInt64, rdi: UInt64, cr3: UInt64, gdtBase: UInt64, gdtLimit: UInt16) {
        self.rip = rip
        self.rdi = rdi
        self.cr3 = cr3
        self.gdtBase = gdtBase
        self.gdtLimit = gdtLimit
    }

    /// 32-bit protected mode with flat segments and without paging: what PVH and multiboot have in common.
    public init(protectedModeEntry rip: UInt32, rax: UInt32 = 0, rbx: UInt32, gdtBase: UInt64, gdtLimit: UInt16) {
        self.rip = UInt64(rip)
        self.rax = UInt64(rax)
        self.rbx = UInt64(rbx)
        self.gdtBase = gdtBase
        self.gdtLimit = gdtLimit
        // PE ET.
        cr0 = 0x11
        cr4 = 0
        efer = 0
        code = .code32(0x08)
        startsInX2APICMode = false
    }

    /// Whether the kernel is entered in 64-bit mode.
    public var isLongMode: Bool { efer & 1 << 10 != 0 && code.isLong }
}
