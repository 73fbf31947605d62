/// Where translated code finds the vCPU's state: byte offsets from the GS base.
///
/// A parameter of the translator, so that it depends on no process state and can be tested and fuzzed alone.
public struct VCPULayout: Sendable {
    /// Guest RIP, stored before an `emulate` exit.
    public var instructionPointer: Int32
    /// First of 16 spill slots, 8 bytes each, one a general-purpose register in encoding order.
    public var spillSlots: Int32
    public var exitKind: Int32
    public var exitIdentifier: Int32
    /// Holds the address of the exit trampoline.
    public var exitStub: Int32
    /// Holds the address of the trampoline for indirect branches that find no block.
    public var missStub: Int32
    public var guestFSBase: Int32
    public var guestGSBase: Int32
    public var virtualInterruptFlag: Int32
    /// 65,536 host addresses, indexed by the low 16 bits of the guest address an indirect branch goes to.
    public var indirectTable: Int32
    /// Values stored to `exitKind`.
    public var chainExit: Int32
    public var emulateExit: Int32
    /// Holds the address of the trampoline for a SYSCALL of ring 3; guest RIP behind it is in `instructionPointer`.
    public var systemCallStub: Int32
    /// Holds the address of the trampoline for SYSRETQ; guest RIP is in `instructionPointer`.
    public var systemReturnStub: Int32
    /// Holds the address of the trampoline for IRETQ, whose frame is in `returnFrame`; guest RIP is in `instructionPointer`.
    public var interruptReturnStub: Int32
    /// Six slots of 8 bytes: RIP, CS, RFLAGS, RSP and SS from the stack, then the descriptor of CS.
    public var returnFrame: Int32
    public var descriptorTableBase: Int32
    /// Holds the address of the trampoline for IN AL, DX: RCX = where to go on (the guest's in its spill slot), guest RIP is in
    /// `instructionPointer`.
    public var portReadStub: Int32
    public var pageFaultAddress: Int32

    public init(
        instructionPointer: Int32, spillSlots: Int32, exitKind: Int32, exitIdentifier: Int32, exitStub: Int32,
        missStub: Int32, guestFSBase: Int32, guestGSBase: Int32, virtualInterruptFlag: Int32, indirectTable: Int32,
        chainExit: Int32, emulateExit: Int32, systemCallStub: Int32, systemReturnStub: Int32,
        interruptReturnStub: Int32, returnFrame: Int32, descriptorTableBase: Int32, portReadStub: Int32,
        pageFaultAddress: Int32
    ) {
        self.instructionPointer = instructionPointer
        self.spillSlots = spillSlots
        self.exitKind = exitKind
        self.exitIdentifier = exitIdentifier
        self.exitStub = exitStub
        self.missStub = missStub
        self.guestFSBase = guestFSBase
        self.guestGSBase = guestGSBase
        self.virtualInterruptFlag = virtualInterruptFlag
        self.indirectTable = indirectTable
        self.chainExit = chainExit
        self.emulateExit = emulateExit
        self.systemCallStub = systemCallStub
        self.systemReturnStub = systemReturnStub
        self.interruptReturnStub = interruptReturnStub
        self.returnFrame = returnFrame
        self.descriptorTableBase = descriptorTableBase
        self.portReadStub = portReadStub
        self.pageFaultAddress = pageFaultAddress
    }

    func spill(_ register: Register) -> Int32 { spillSlots + Int32(register.rawValue) * 8 }
}

/// Which ring the code is for, how its addresses become host addresses, and how much is translated at a time.
public struct TranslationOptions: Sendable {
    /// The ring that the guest's code runs in.
    public enum Privilege: Sendable {
        /// Ring 0: memory is seen through the window, by the FS base.
        case supervisor
        /// Ring 3: memory is where the guest has it, FS base is the guest's own.
        case user
    }

    public var privilege: Privilege
    /// W of the address map: the host linear address of guest address 0 as ring 0 sees it. Also the FS base in ring 0.
    public var windowBase: UInt64
    /// Most guest instructions in one block.
    public var instructionLimit: Int
    /// Blocks end in an exit, not in another block: indirect branches are left to the VMM, and so are repeated string
    /// instructions, of which it does one round.
    public var alwaysExits: Bool

    /// Whether targets of indirect branches are verified by LOOP, which AMD's CPUs are fast at, or by JRCXZ.
    public var verifiesByLoop: Bool

    /// Instructions that are left to the VMM because the guest wants them to fault.
    public var withheld: WithheldInstructions = []

    public init(
        privilege: Privilege = .supervisor, windowBase: UInt64 = 0x4800_0000_0000, instructionLimit: Int = 64,
        alwaysExits: Bool = false, verifiesByLoop: Bool = true
    ) {
        self.verifiesByLoop = verifiesByLoop
        self.privilege = privilege
        self.windowBase = windowBase
        self.instructionLimit = instructionLimit
        self.alwaysExits = alwaysExits
    }
}

/// A 64-bit general-purpose register in encoding order.
public enum Register: UInt8, CaseIterable, Sendable {
    case rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
}
