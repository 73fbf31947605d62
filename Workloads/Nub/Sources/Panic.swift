import CPU

nonisolated(unsafe) private var isPanicking = false

/// Reports and stops: a `kernelPanic` record, the same on the serial port, debug exit.
func kernelPanic(_ frame: UnsafeMutablePointer<TrapFrame>, _ message: StaticString) -> Never {
    if isPanicking { stop(DebugExitCode.panic) }
    isPanicking = true
    var record = KernelPanicRecord()
    let registers = frame.pointee
    record.vector = UInt32(truncatingIfNeeded: registers.vector)
    record.errorCode = UInt32(truncatingIfNeeded: registers.errorCode)
    record.rip = registers.rip
    record.rsp = registers.rsp
    record.rflags = registers.rflags
    record.cr2 = cpu_read_cr2()
    record.cr3 = cpu_read_cr3()
    record.registers = (
        registers.rax, registers.rcx, registers.rdx, registers.rbx, registers.rsp, registers.rbp, registers.rsi,
        registers.rdi, registers.r8, registers.r9, registers.r10, registers.r11, registers.r12, registers.r13,
        registers.r14, registers.r15
    )
    report(&record, message, framePointer: registers.cs & 3 == 0 ? registers.rbp : 0)
}

/// A panic that no exception led to.
func kernelPanic(_ message: StaticString) -> Never {
    var frame = TrapFrame()
    frame.vector = UInt64(UInt32.max)
    kernelPanic(&frame, message)
}

private func report(_ record: inout KernelPanicRecord, _ message: StaticString, framePointer: UInt64) -> Never {
    walk(framePointer, &record)
    _ = kernelLog.take()
    kernelLog.text("panic: ")
    kernelLog.text(message)
    kernelLog.text(", vector ")
    kernelLog.decimal(UInt64(record.vector))
    line("error code", UInt64(record.errorCode))
    line("rip", record.rip)
    line("rsp", record.rsp)
    line("rflags", record.rflags)
    line("cr2", record.cr2)
    line("cr3", record.cr3)
    withUnsafeBytes(of: record.registers) { buffer in
        let names: StaticString = "raxrcxrdxrbxrsprbprsirdir8 r9 r10r11r12r13r14r15"
        for index in 0..<16 {
            kernelLog.byte(10)
            kernelLog.bytes(names.utf8Start + 3 * index, 3)
            kernelLog.byte(32)
            kernelLog.hexadecimal(buffer.load(fromByteOffset: 8 * index, as: UInt64.self))
        }
    }
    withUnsafeBytes(of: record.backtrace) { buffer in
        for index in 0..<16 {
            let address = buffer.load(fromByteOffset: 8 * index, as: UInt64.self)
            if address == 0 { break }
            line("called from", address)
        }
    }
    let (text, count) = kernelLog.take()
    record.textLength = UInt32(truncatingIfNeeded: count)
    let headerBytes = MemoryLayout<KernelPanicRecord>.size
    if let target = mailbox.begin(
        MailboxRecordKind.kernelPanic, length: UInt32(truncatingIfNeeded: headerBytes + count))
    {
        target.storeBytes(of: record, as: KernelPanicRecord.self)
        memcpy(target + headerBytes, text, UInt(count))
        mailbox.commit()
    }
    mailbox.ring()
    SerialPort.write(text, count)
    let newline: StaticString = "\n"
    SerialPort.write(newline.utf8Start, 1)
    stop(DebugExitCode.panic)
}

private func line(_ name: StaticString, _ value: UInt64) {
    kernelLog.byte(10)
    kernelLog.text(name)
    kernelLog.byte(32)
    kernelLog.hexadecimal(value)
}

/// Follows frame pointers while they go up a stack in kernel memory: at most 16 frames.
private func walk(_ framePointer: UInt64, _ record: inout KernelPanicRecord) {
    var frame = framePointer
    withUnsafeMutableBytes(of: &record.backtrace) { buffer in
        for index in 0..<16 {
            guard frame & 7 == 0, isKernelMemory(frame) else { return }
            let caller = pointer(frame, as: UInt64.self)
            guard caller[1] >= kernel_text_start_address(), caller[1] < kernel_text_end_address() else { return }
            buffer.storeBytes(of: caller[1], toByteOffset: 8 * index, as: UInt64.self)
            guard caller[0] > frame, caller[0] &- frame < 16384 else { return }
            frame = caller[0]
        }
    }
}

/// Whether 16 bytes at `address` can be read: the image's data or the physical map of RAM.
private func isKernelMemory(_ address: UInt64) -> Bool {
    if address >= kernel_data_start_address() && address < kernel_end_address() &- 16 { return true }
    return address >= Layout.physicalMap && address < Layout.physicalMap &+ bootInformation.memoryEnd &- 16
}

/// Ends the machine through the debug-exit port; where there is none, waits for ever.
func stop(_ code: UInt32) -> Never {
    cpu_out32(Port.debugExit, code)
    cpu_stop()
}
