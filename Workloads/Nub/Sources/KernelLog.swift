import CPU

/// The serial console: used where there is no host behind the mailbox, and by the panic.
enum SerialPort {
    static func start() {
        cpu_out8(Port.serial + 1, 0)  // no interrupts
        cpu_out8(Port.serial + 3, 0x80)  // divisor latch
        cpu_out8(Port.serial + 0, 1)  // 115,200 baud
        cpu_out8(Port.serial + 1, 0)
        cpu_out8(Port.serial + 3, 0x03)  // 8 bits, no parity, 1 stop bit
        cpu_out8(Port.serial + 2, 0xC7)  // FIFO on and cleared
    }

    static func write(_ bytes: UnsafePointer<UInt8>, _ count: Int) {
        for index in 0..<count {
            // Wait for room, but not for ever: a machine without a UART reads as 0xFF or 0.
            var patience = 10_000
            while cpu_in8(Port.serial + 5) & 0x20 == 0, patience > 0 { patience -= 1 }
            cpu_out8(Port.serial, bytes[index])
        }
    }
}

/// The kernel's own log, a line at a time: to the mailbox, or to the serial port where nobody reads the mailbox.
struct KernelLog {
    private var length = 0

    mutating func byte(_ value: UInt8) {
        if length < Int(KERNEL_LINE_BYTES) {
            kernel_line_buffer()[length] = value
            length += 1
        }
    }

    mutating func text(_ text: StaticString) {
        bytes(text.utf8Start, text.utf8CodeUnitCount)
    }

    mutating func bytes(_ bytes: UnsafePointer<UInt8>, _ count: Int) {
        for index in 0..<count { byte(bytes[index]) }
    }

    mutating func decimal(_ value: UInt64) {
        var divisor: UInt64 = 1
        while value / divisor >= 10 { divisor &*= 10 }
        while divisor > 0 {
            byte(48 &+ UInt8(truncatingIfNeeded: value / divisor % 10))
            divisor /= 10
        }
    }

    mutating func hexadecimal(_ value: UInt64) {
        text("0x")
        var shift: UInt64 = 64
        while shift > 4 && value >> (shift &- 4) == 0 { shift &-= 4 }
        while shift > 0 {
            shift &-= 4
            let digit = UInt8(truncatingIfNeeded: value >> shift & 15)
            byte(digit < 10 ? 48 &+ digit : 87 &+ digit)
        }
    }

    /// Ends the line and sends it off.
    mutating func end() {
        let buffer = UnsafePointer<UInt8>(kernel_line_buffer().unsafelyUnwrapped)
        mailbox.append(MailboxRecordKind.kernelMessage, buffer, length)
        if !mailbox.hasHost {
            let prefix: StaticString = "nub: "
            SerialPort.write(prefix.utf8Start, prefix.utf8CodeUnitCount)
            SerialPort.write(buffer, length)
            let newline: StaticString = "\n"
            SerialPort.write(newline.utf8Start, 1)
        }
        length = 0
    }

    /// The line so far, which is then forgotten (the panic's text).
    mutating func take() -> (UnsafePointer<UInt8>, Int) {
        let count = length
        length = 0
        return (UnsafePointer(kernel_line_buffer().unsafelyUnwrapped), count)
    }

    mutating func message(_ message: StaticString) {
        text(message)
        end()
    }
}

nonisolated(unsafe) var kernelLog = KernelLog()
