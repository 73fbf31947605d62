/// What siginfo_t tells of a signal beside its number (sigaction(2); include/uapi/asm-generic/siginfo.h).
struct SignalInformation {
    /// si_code.
    var code: Int32
    /// si_status of a child.
    var status: Int32 = 0
    /// The word that begins with si_pid (with si_uid, which is 0, above it), or is si_addr.
    var origin: UInt64 = 0

    // Codes of the kernel, of kill, and of tkill and tgkill.
    private static let kernelCode: Int32 = 0x80
    private static let userCode: Int32 = 0
    private static let threadCode: Int32 = -6

    // Codes of faults: SEGV_MAPERR, SEGV_ACCERR, FPE_INTDIV, ILL_ILLOPN, TRAP_BRKPT, BUS_ADRALN.
    static let notMapped: Int32 = 1
    static let notAllowed: Int32 = 2
    static let integerDivision: Int32 = 1
    static let illegalOperand: Int32 = 2
    static let breakpoint: Int32 = 1
    static let misaligned: Int32 = 1

    static let fromKernel = SignalInformation(code: kernelCode)

    static func fault(_ code: Int32, at address: UInt64) -> SignalInformation {
        SignalInformation(code: code, origin: address)
    }

    /// From a process by kill(2), or to one thread by tkill(2).
    static func sent(by process: ProcessPointer, toThread: Bool = false) -> SignalInformation {
        SignalInformation(code: toThread ? threadCode : userCode, origin: identifier(process))
    }

    /// The end of a child, with its status as wait4 gives it: CLD_EXITED or CLD_KILLED.
    static func ended(_ child: ProcessPointer) -> SignalInformation {
        let status = child.pointee.exitStatus
        let signal = status & 0x7F
        return SignalInformation(
            code: signal == 0 ? 1 : 2, status: signal == 0 ? status >> 8 & 0xFF : signal, origin: identifier(child))
    }

    private static func identifier(_ process: ProcessPointer) -> UInt64 {
        UInt64(UInt32(bitPattern: process.pointee.identifier))
    }
}
