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
    switch vector {
    case 0, 16, 19: Signals.raiseFault(SIGFPE, frame, address: address)
    case 1, 3: Signals.raiseFault(SIGTRAP, frame, address: address)
    case 2: return
    case 6: Signals.raiseFault(SIGILL, frame, address: address)
    case 17: Signals.raiseFault(SIGBUS, frame, address: address)
    case 8, 18: kernelPanic(frame, "machine check or double fault")
    case 32...: kernelPanic(frame, "unexpected interrupt")
    default: Signals.raiseFault(SIGSEGV, frame, address: address)
    }
}
