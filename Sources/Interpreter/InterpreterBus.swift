/// What the interpreter's processor is connected to. Called on the thread that interprets.
public protocol InterpreterBus: AnyObject {
    /// Host address of the page of RAM at a page-aligned guest-physical address; nil where there is none. With `forWriting` the
    /// page is about to be written. Stays valid until the interpreter's `forgetTranslations`.
    func page(at physical: UInt64, forWriting: Bool) -> UnsafeMutableRawPointer?
    /// Reads `size` (1, 2, 4 or 8) bytes of device memory; nil where no device is.
    func readDevice(_ physical: UInt64, size: Int) -> UInt64?
    /// Writes device memory. False: there is no device.
    func writeDevice(_ physical: UInt64, size: Int, value: UInt64) -> Bool
    func readPort(_ port: UInt16, size: Int) -> UInt32
    func writePort(_ port: UInt16, size: Int, value: UInt32)
    /// An MSR other than EFER and the bases of FS and GS; nil: #GP.
    func readMSR(_ number: UInt32) -> UInt64?
    /// False: #GP.
    func writeMSR(_ number: UInt32, _ value: UInt64) -> Bool
    func cpuid(_ leaf: UInt32, _ subleaf: UInt32, cr4: UInt64) -> (eax: UInt32, ebx: UInt32, ecx: UInt32, edx: UInt32)
    func timestamp() -> UInt64
    /// CR8.
    var taskPriority: UInt64 { get set }
    /// Bits of CR4 that may be set.
    var offeredCR4: UInt64 { get }
    /// FNINIT.
    func resetFPU()
}
