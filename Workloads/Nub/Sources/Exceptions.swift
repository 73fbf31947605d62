import CPU

/// Exceptions other than resolved page faults, from entry.S with a complete frame.
@c(exception)
func exception(_ frame: UnsafeMutablePointer<TrapFrame>) {
    let vector = frame.pointee.vector
    let address = vector == 14 ? cpu_read_cr2() : frame.pointee.rip
    if frame.pointee.cs & 3 == 0 {
        // The kernel touched user memory that is not there: the copy fails, the call returns EFAULT.
        if vector == 14 && frame.pointee.rip >= kernel_user_access_start()
            && frame.pointee.rip < kernel_user_access_end()
            && address < Layout.userEnd
        {
            frame.pointee.rip = kernel_user_access_failed()
            return
        }
        if vector == 2 { return }
        kernelPanic(frame, "exception in ring 0")
    }
    guard let process = Scheduler.current else { kernelPanic(frame, "exception without a process") }
    if process.pointee.outOfMemory { endCurrentProcess(status: SIGKILL) }
    if cpu_block.stubStackPointer != 0 {
        // The FPU area that the program sees was made unloadable by it.
        endCurrentProcess(status: SIGSEGV)
    }
    let rip = frame.pointee.rip
    let kernel = SignalInformation.fromKernel
    switch vector {
    case 0: Signals.raiseFault(SIGFPE, frame, address: rip, .fault(SignalInformation.integerDivision, at: rip))
    case 1: Signals.raiseFault(SIGTRAP, frame, address: rip, .fault(SignalInformation.breakpoint, at: rip))
    case 2: return
    case 3: Signals.raiseFault(SIGTRAP, frame, address: rip, kernel)
    case 6: Signals.raiseFault(SIGILL, frame, address: rip, .fault(SignalInformation.illegalOperand, at: rip))
    case 8, 18: kernelPanic(frame, "machine check or double fault")
    case 14: Signals.raiseFault(SIGSEGV, frame, address: address, .fault(pageFaultCode(process, address), at: address))
    case 16, 19: Signals.raiseFault(SIGFPE, frame, address: rip, floatingPointFault(process, frame))
    case 17: Signals.raiseFault(SIGBUS, frame, address: rip, .fault(SignalInformation.misaligned, at: 0))
    case 32...: kernelPanic(frame, "unexpected interrupt")
    default: Signals.raiseFault(SIGSEGV, frame, address: rip, kernel)
    }
}

/// Whether nothing is mapped at `address` or what is mapped does not allow it.
private func pageFaultCode(_ process: ProcessPointer, _ address: UInt64) -> Int32 {
    let area = address < Layout.userEnd ? process.pointee.space?.pointee.area(at: address) : nil
    return area == nil ? SignalInformation.notMapped : SignalInformation.notAllowed
}

/// The FPE_FLT… code of the first exception that is flagged and not masked, in Linux's order of trying.
private func floatingPointFault(_ process: ProcessPointer, _ frame: UnsafeMutablePointer<TrapFrame>)
    -> SignalInformation
{
    fpu.synchronize(process)
    // FXSAVE area: control and status word of the x87 at 0 and 2, MXCSR at 24 (SDM vol. 1, 10.5.1).
    let area = process.pointee.fpuArea.raw
    let flagged: UInt32
    if frame.pointee.vector == 16 {
        flagged = UInt32(area.load(fromByteOffset: 2, as: UInt16.self) & ~area.load(as: UInt16.self))
    } else {
        let mxcsr = area.load(fromByteOffset: 24, as: UInt32.self)
        flagged = mxcsr & ~(mxcsr >> 7)
    }
    let code: Int32
    if flagged & 0x01 != 0 {
        code = 7  // FPE_FLTINV
    } else if flagged & 0x04 != 0 {
        code = 3  // FPE_FLTDIV
    } else if flagged & 0x08 != 0 {
        code = 4  // FPE_FLTOVF
    } else if flagged & 0x12 != 0 {
        code = 5  // FPE_FLTUND
    } else {
        code = 6  // FPE_FLTRES
    }
    return .fault(code, at: frame.pointee.rip)
}
