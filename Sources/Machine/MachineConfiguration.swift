/// One machine and what it boots.
public struct MachineConfiguration: Sendable {
    public var kernel: KernelImage
    /// newc cpio archive: the guest's file tree.
    public var initrd: [UInt8]
    public var commandLine: String
    /// RAM, a multiple of 4 KiB.
    public var memoryBytes: UInt64
    /// NUMA node that RAM comes from, or nil for the local one.
    public var numaNode: Int?
    /// Seeds the guest's random numbers.
    public var seed: UInt64
    /// Seconds after which the machine is stopped with `MachineEnd.timeout`.
    public var timeLimit: Double

    public init(
        kernel: KernelImage, initrd: [UInt8] = [], commandLine: String = "", memoryBytes: UInt64 = 128 << 20,
        numaNode: Int? = nil, seed: UInt64 = 1, timeLimit: Double = 60
    ) {
        self.kernel = kernel
        self.initrd = initrd
        self.commandLine = commandLine
        self.memoryBytes = memoryBytes
        self.numaNode = numaNode
        self.seed = seed
        self.timeLimit = timeLimit
    }
}
