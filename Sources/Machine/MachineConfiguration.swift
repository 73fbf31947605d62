/// One machine and what it boots.
public struct MachineConfiguration: Sendable {
    public var kernel: KernelImage
    public var bootProtocol: BootProtocol
    /// newc cpio archive: the guest's file tree. Other protocols hand it over as a module, whatever it is.
    public var initrd: [UInt8]
    /// What a multiboot kernel is told of its module.
    public var initrdName: String
    public var commandLine: String
    /// A PC's interrupt controllers, timer, clock and keyboard controller; without them their ports lead nowhere.
    public var hasPlatformDevices = false
    /// Descriptor that the serial port receives from; nil: nothing ever comes.
    public var consoleInput: Int32?
    /// Serial output reaches the observer byte by byte, not by lines.
    public var hasLiveConsole = false
    /// What runs in it, for who looks at running machines.
    public var title = ""
    /// RAM, a multiple of 4 KiB.
    public var memoryBytes: UInt64
    /// NUMA node that RAM comes from, or nil for the local one.
    public var numaNode: Int?
    /// Seeds the guest's random numbers.
    public var seed: UInt64
    /// Seconds after which the machine is stopped with `MachineEnd.timeout`.
    public var timeLimit: Double
    /// Note where in the guest every exit comes from. That takes time: not for trials whose times count.
    public var profilesExits = false
    /// Count and time exits. Off only to find out what the ledger costs.
    public var keepsLedger = true
    /// Why there is no ledger then.
    public static let ledgerIsOff = "the ledger was switched off (option ledger=off)"

    public init(
        kernel: KernelImage, bootProtocol: BootProtocol = .vbench, initrd: [UInt8] = [], initrdName: String = "",
        commandLine: String = "", memoryBytes: UInt64 = 128 << 20, numaNode: Int? = nil, seed: UInt64 = 1,
        timeLimit: Double = 60
    ) {
        self.kernel = kernel
        self.bootProtocol = bootProtocol
        self.initrd = initrd
        self.initrdName = initrdName
        self.commandLine = commandLine
        self.memoryBytes = memoryBytes
        self.numaNode = numaNode
        self.seed = seed
        self.timeLimit = timeLimit
    }
}
