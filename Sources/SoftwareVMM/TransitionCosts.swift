import CLinux
import Glibc
import Host
import Machine

/// What the way from guest code to `vb_sw_enter`'s return and from its call back to guest code takes, of one exit in TSC cycles: signal
/// delivery by the host's kernel, saving and restoring registers and FPU state. No exit's own time holds it, since TSC reads
/// around the VMM's work cannot see it.
///
/// Measured before the guest's first instruction by entering code that leaves at once, in each of the ways there are: the time from
/// entry to exit is all transition then. Caches are warm, so that real transitions take as long or longer.
struct TransitionCosts {
    /// By a jump to `vb_sw_exit`.
    private(set) var callout: UInt64 = 0
    /// By SIGSYS, for a system call of ring 3 run directly.
    private(set) var systemCall: UInt64 = 0
    /// By SIGSEGV. Other signals take the same way.
    private(set) var fault: UInt64 = 0

    /// Where no guest has been yet. The page above stays unmapped.
    private static let address: UInt64 = 0x0700_0000_0000
    private static let pageBytes = 4096
    private static let samples = 65
    private static let systemCallOffset: UInt64 = 0
    private static let faultOffset: UInt64 = 16
    private static let calloutOffset: UInt64 = 32

    /// - Parameter cpu: with handlers installed and system calls diverted; its registers are as before afterwards.
    /// - Returns: nil where the host refuses the page for it.
    init?(_ cpu: VirtualCPU) {
        let place = UnsafeMutableRawPointer(bitPattern: UInt(Self.address))
        guard
            let page = mmap(
                place, Self.pageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
            page != MAP_FAILED
        else { return nil }
        defer { munmap(page, Self.pageBytes) }
        guard page == place else { return nil }
        // syscall
        page.storeBytes(of: 0x050F, toByteOffset: Int(Self.systemCallOffset), as: UInt16.self)
        // mov rax, [rax]
        for (index, byte) in [0x48, 0x8B, 0x00].enumerated() {
            page.storeBytes(of: UInt8(byte), toByteOffset: Int(Self.faultOffset) + index, as: UInt8.self)
        }
        // jmp qword ptr gs:[VB_SW_EXIT_STUB]
        for (index, byte) in [0x65, 0xFF, 0x24, 0x25].enumerated() {
            page.storeBytes(of: UInt8(byte), toByteOffset: Int(Self.calloutOffset) + index, as: UInt8.self)
        }
        (page + Int(Self.calloutOffset) + 4).storeBytes(of: UInt32(VB_SW_EXIT_STUB), as: UInt32.self)
        guard mprotect(page, Self.pageBytes, PROT_READ | PROT_EXEC) == 0 else { return nil }

        let registers = (0..<16).map { cpu[$0] }
        let flags = cpu.state.pointee.rflags
        let vectors = cpu.copyOfFPUState()
        callout = Self.median(cpu, at: Self.calloutOffset)
        systemCall = Self.median(cpu, at: Self.systemCallOffset)
        fault = Self.median(cpu, at: Self.faultOffset)
        for register in 0..<16 { cpu[register] = registers[register] }
        cpu.state.pointee.rflags = flags
        cpu.state.pointee.kick = 0
        cpu.restoreFPUState(vectors)
    }

    private static func median(_ cpu: VirtualCPU, at offset: UInt64) -> UInt64 {
        let state = cpu.state
        var times: [UInt64] = []
        for _ in 0..<samples {
            state.pointee.rflags = Flags.always | Flags.interrupt
            state.pointee.enter_fs = 0
            state.pointee.enter_gs = state.pointee.`self`
            state.pointee.resume = address + offset
            // Only a jump to `vb_sw_exit` leaves it as it is.
            state.pointee.exit_kind = UInt64(VB_SW_EXIT_EMULATE)
            cpu[GPR.rax] = address + UInt64(pageBytes)
            let begin = TimestampCounter.now()
            _ = vb_sw_enter(state)
            times.append(TimestampCounter.now() &- begin)
        }
        return times.sorted()[samples / 2]
    }

    /// Of an exit by these means; nil where the guest is not left.
    func cycles(_ exit: RawExit) -> UInt64? {
        switch exit {
        case .chain, .indirect, .callout, .toUser: callout
        case .sigsys: systemCall
        case .kick, .sigsegv, .sigbus, .sigill, .sigfpe, .sigtrap: fault
        case .none, .translator, .interpreter, .trampoline: nil
        }
    }
}
