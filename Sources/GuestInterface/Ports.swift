/// I/O ports that the machine of both VMMs (and QEMU, for the first two) decodes.
public enum Port {
    /// 16550 UART, COM1: eight ports from here (PC convention).
    public static let serial: UInt16 = 0x3F8
    /// Debug exit, compatible with QEMU's `isa-debug-exit,iobase=0xf4,iosize=4`: a write of `v` ends the
    /// machine; QEMU's process exits with `(v << 1) | 1`.
    public static let debugExit: UInt16 = 0xF4
    /// Mailbox doorbell: a 32-bit write of a `Doorbell` value. The host drains the mailbox before the guest goes on.
    public static let doorbell: UInt16 = 0x560
    /// The port the paper's `in` nanobenchmark reads (POST code port, no device behind it: reads as 0xFF).
    public static let postCode: UInt16 = 0x80
    /// Writes have no effect: a way into the VMM and back, to measure what it costs.
    public static let worldSwitch: UInt16 = 0x564
}

/// Values a guest writes to `Port.doorbell`.
public enum Doorbell {
    /// New records are in the mailbox, or it is full: drain it.
    public static let drain: UInt32 = 1
    /// A round of the program's timed phase begins; the phase's number is in the low byte. The mailbox is left as it is.
    public static let roundBegin: UInt32 = 0x100
    /// A round has ended; likewise.
    public static let roundEnd: UInt32 = 0x200

    /// A machine booted by PVH that has no doorbell port, but a host that shares the guest's memory and reads its serial port (QEMU):
    /// the first word of the kernel's command line.
    public static let serialOption: StaticString = "nub.doorbell=serial"
    /// What the guest then writes to the serial port instead (ASCII ENQ). It goes on when the host has stored 0 to the mailbox's `used`.
    public static let serialByte: UInt8 = 0x05
}

/// Values a guest writes to `Port.debugExit`.
public enum DebugExitCode {
    /// The program ran to its end (its own status is in the `programExit` record).
    public static let done: UInt32 = 0x10
    /// The kernel panicked (details are in the `kernelPanic` record).
    public static let panic: UInt32 = 0x11
    /// The kernel could not start the program (reason in a `kernelMessage` record).
    public static let cannotStart: UInt32 = 0x12
}
