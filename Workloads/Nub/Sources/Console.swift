import CPU

/// Program output: records of at most 4 KiB for the host, or bytes on the serial port.
enum Console {
    private static let chunkBytes: UInt64 = 4096

    /// Bytes written, or a negative error number.
    static func write(stream: UInt16, _ address: UInt64, _ bytes: UInt64) -> Int {
        if !UserMemory.isValid(address, bytes) { return -EFAULT }
        var done: UInt64 = 0
        while done < bytes {
            let count = bytes &- done < chunkBytes ? bytes &- done : chunkBytes
            if mailbox.hasHost {
                if !mailbox.appendFromUser(MailboxRecordKind.output, detail: stream, address &+ done, count) { break }
            } else {
                let buffer = kernel_path_buffer().unsafelyUnwrapped
                if !UserMemory.copyIn(buffer, address &+ done, count) { break }
                SerialPort.write(buffer, Int(count))
            }
            done &+= count
        }
        return done == 0 && bytes != 0 ? -EFAULT : Int(done)
    }

    /// One record for the host's eyes (`/dev/vbench`).
    static func writeRecord(_ address: UInt64, _ bytes: UInt64) -> Int {
        if !UserMemory.isValid(address, bytes) { return -EFAULT }
        let count = bytes < chunkBytes ? bytes : chunkBytes
        if count == 0 { return 0 }
        if !mailbox.appendFromUser(MailboxRecordKind.programRecord, detail: 0, address, count) { return -EFAULT }
        return Int(count)
    }
}
