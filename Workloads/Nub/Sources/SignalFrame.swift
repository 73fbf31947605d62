import CPU

/// The frame on the user's stack while a handler runs: struct rt_sigframe (arch/x86/include/asm/sigframe.h), then the FPU
/// state. Words of 8 bytes: return address, ucontext (flags, link, stack, sigcontext of 32 words, mask), siginfo.
enum SignalFrame {
    private static let words = 55
    private static let contextWord = 6
    private static let maskWord = 38
    private static let informationWord = 39

    /// Flags a program may set: CF PF AF ZF SF TF DF OF, AC; bit 1 and IF are always on.
    private static let flagsMask: UInt64 = 0x4_0DD5
    private static let flagsSet: UInt64 = 0x202

    /// Makes `frame` enter the handler. False when the user's stack cannot take it.
    static func push(
        _ process: ProcessPointer, _ signal: Int32, _ action: SignalAction,
        _ frame: UnsafeMutablePointer<TrapFrame>, _ information: SignalInformation, isFault: Bool
    ) -> Bool {
        var stack = frame.pointee.rsp &- 128  // red zone
        let alternate = process.pointee.alternateStack
        let alternateBytes = process.pointee.alternateStackBytes
        if action.flags & SignalAction.onStack != 0 && alternateBytes != 0
            && !(frame.pointee.rsp > alternate && frame.pointee.rsp <= alternate &+ alternateBytes)
        {
            stack = alternate &+ alternateBytes
        }
        if stack < 8192 || stack > Layout.userEnd { return false }
        let saved = UInt64(fpu.savedBytes)
        let floatingPoint = (stack &- saved) & ~63
        let base = ((floatingPoint &- UInt64(words * 8)) & ~15) &- 8

        fpu.synchronize(process)
        if !UserMemory.copyOut(floatingPoint, process.pointee.fpuArea.raw, saved) { return false }

        var content = InlineArray<55, UInt64>(repeating: 0)
        content[0] = action.restorer
        content[3] = alternate
        content[4] = alternateBytes == 0 ? 2 : 0  // SS_DISABLE
        content[5] = alternateBytes
        let registers = frame.pointee
        content[6] = registers.r8
        content[7] = registers.r9
        content[8] = registers.r10
        content[9] = registers.r11
        content[10] = registers.r12
        content[11] = registers.r13
        content[12] = registers.r14
        content[13] = registers.r15
        content[14] = registers.rdi
        content[15] = registers.rsi
        content[16] = registers.rbp
        content[17] = registers.rbx
        content[18] = registers.rdx
        content[19] = registers.rax
        content[20] = registers.rcx
        content[21] = registers.rsp
        content[22] = registers.rip
        content[23] = registers.rflags
        content[24] = registers.cs | registers.ss << 48
        if isFault {
            content[25] = registers.errorCode
            content[26] = registers.vector
            if registers.vector == 14 { content[28] = information.origin }
        }
        content[27] = process.pointee.blockedSignals
        content[29] = floatingPoint
        content[maskWord] =
            process.pointee.restoresBlockedSignals
            ? process.pointee.savedBlockedSignals : process.pointee.blockedSignals
        process.pointee.restoresBlockedSignals = false
        content[informationWord] = UInt64(signal)
        content[informationWord + 1] = UInt64(UInt32(bitPattern: information.code))
        content[informationWord + 2] = information.origin
        content[informationWord + 3] = UInt64(UInt32(bitPattern: information.status))
        if !UserMemory.store(content, at: base) { return false }

        var blocked = process.pointee.blockedSignals | action.mask
        if action.flags & SignalAction.noDefer == 0 { blocked |= Signals.bit(signal) }
        Signals.setBlocked(process, blocked)
        if action.flags & SignalAction.resetHandler != 0 {
            process.pointee.signalActions?[Int(signal) - 1] = SignalAction()
        }
        if action.handler >= Layout.userEnd { return false }
        frame.pointee.rip = action.handler
        frame.pointee.rsp = base
        frame.pointee.rdi = UInt64(signal)
        frame.pointee.rsi = base &+ UInt64(informationWord * 8)
        frame.pointee.rdx = base &+ 8
        frame.pointee.rax = 0
        frame.pointee.rflags = flagsSet
        return true
    }

    /// rt_sigreturn(2): puts everything back. False when the frame is not readable or makes no sense.
    static func pop(_ process: ProcessPointer, _ frame: UnsafeMutablePointer<TrapFrame>) -> Bool {
        var content = InlineArray<55, UInt64>(repeating: 0)
        let base = frame.pointee.rsp &- 8
        if !UserMemory.load(&content, from: base) || content[22] >= Layout.userEnd { return false }
        frame.pointee.r8 = content[6]
        frame.pointee.r9 = content[7]
        frame.pointee.r10 = content[8]
        frame.pointee.r11 = content[9]
        frame.pointee.r12 = content[10]
        frame.pointee.r13 = content[11]
        frame.pointee.r14 = content[12]
        frame.pointee.r15 = content[13]
        frame.pointee.rdi = content[14]
        frame.pointee.rsi = content[15]
        frame.pointee.rbp = content[16]
        frame.pointee.rbx = content[17]
        frame.pointee.rdx = content[18]
        frame.pointee.rax = content[19]
        frame.pointee.rcx = content[20]
        frame.pointee.rsp = content[21]
        frame.pointee.rip = content[22]
        frame.pointee.rflags = content[23] & flagsMask | flagsSet
        if content[29] != 0 {
            fpu.synchronize(process)
            if !UserMemory.copyIn(process.pointee.fpuArea.raw, content[29], UInt64(fpu.savedBytes)) { return false }
            fpu.sanitize(process.pointee.fpuArea)
            fpu.reload(process)
        }
        Signals.setBlocked(process, content[maskWord])
        return true
    }
}
