import GuestInterface

/// Receives what a guest sends. Called on the vCPU's thread while the guest is stopped; the bytes are only valid during
/// the call, and come from a guest that may be hostile.
public protocol MachineObserver: AnyObject {
    /// One mailbox record.
    func record(_ header: MailboxRecordHeader, payload: UnsafeRawBufferPointer)
    /// Bytes that the guest wrote to its serial port.
    func serialOutput(_ bytes: UnsafeRawBufferPointer)
}
