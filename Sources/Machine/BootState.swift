/// Register state in which every VMM enters a kernel (see `BootInfo` for the protocol).
public struct BootState: Sendable, Equatable {
    public var rip: UInt64
    /// Guest-physical address of the `BootInfo`.
    public var rdi: UInt64
    /// Only bit 1, which always reads as one: IF = 0.
    public var rflags: UInt64 = 0x2
    /// PE MP ET NE WP PG (Intel SDM vol. 3, 2.5).
    public var cr0: UInt64 = 0x8001_0033
    public var cr3: UInt64
    /// PAE OSFXSR OSXMMEXCPT.
    public var cr4: UInt64 = 0x620
    /// SCE LME LMA NXE (Intel SDM vol. 3, 2.2.1).
    public var efer: UInt64 = 0xD01
    public var gdtBase: UInt64
    public var gdtLimit: UInt16
    /// Flat 64-bit code.
    public var codeSelector: UInt16 = 0x10
    /// Flat data: SS, DS, ES, FS, GS.
    public var dataSelector: UInt16 = 0x18
}
