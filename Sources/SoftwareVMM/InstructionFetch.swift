import CZydis
import GuestInterface
import Machine

/// Reads guest code, for translation and for the instructions the VMM carries out.
final class InstructionFetch {
    private let memory: GuestMemory
    private let linear: GuestLinearMemory
    // Invariant: two pages, allocated here and freed only in deinit; used when an instruction crosses a page border.
    private let joint: UnsafeMutablePointer<UInt8>
    private var decoder = ZydisDecoder()
    let operands: UnsafeMutablePointer<ZydisDecodedOperand>

    init(memory: GuestMemory, linear: GuestLinearMemory) {
        self.memory = memory
        self.linear = linear
        joint = .allocate(capacity: 8192)
        operands = .allocate(capacity: Int(ZYDIS_MAX_OPERAND_COUNT))
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)
    }

    deinit {
        joint.deallocate()
        operands.deallocate()
    }

    /// Code from `address` to the end of its page, and the memfd offset of the page.
    func page(_ address: UInt64, user: Bool, _ mode: PagingMode) throws(GuestException) -> (
        bytes: UnsafeBufferPointer<UInt8>, offset: UInt64
    )? {
        let physical = try linear.translate(address, Access(execute: true, user: user), mode)
        let count = 4096 - physical & 0xFFF
        guard let pointer = memory.pointer(to: GuestPhysicalAddress(physical), count: count),
            let offset = memory.fileOffset(of: GuestPhysicalAddress(physical & ~0xFFF))
        else { return nil }
        return (
            UnsafeBufferPointer(start: pointer.assumingMemoryBound(to: UInt8.self), count: Int(count)),
            offset
        )
    }

    /// The rest of this page and the first bytes of the next, side by side: for an instruction that crosses the border.
    func acrossPages(_ address: UInt64, user: Bool, _ mode: PagingMode) throws(GuestException) -> (
        bytes: UnsafeBufferPointer<UInt8>, offsets: (UInt64, UInt64)
    )? {
        guard let first = try page(address, user: user, mode),
            let second = try page((address & ~0xFFF) &+ 4096, user: user, mode)
        else { return nil }
        joint.update(from: first.bytes.baseAddress!, count: first.bytes.count)
        // Fifteen bytes hold the rest of any instruction.
        (joint + first.bytes.count).update(from: second.bytes.baseAddress!, count: 15)
        return (
            UnsafeBufferPointer(start: joint, count: first.bytes.count + 15),
            (first.offset, second.offset)
        )
    }

    /// Code at `address`, at least one whole instruction where there is one. Throws the page fault of the fetch.
    func instruction(_ address: UInt64, user: Bool, _ mode: PagingMode) throws(GuestException)
        -> UnsafeBufferPointer<UInt8>?
    {
        guard let first = try page(address, user: user, mode) else { return nil }
        if first.bytes.count >= 15 { return first.bytes }
        // Close to the border: the next page is only wanted if the instruction reaches it.
        var info = ZydisDecodedInstruction()
        if ZydisDecoderDecodeFull(
            &decoder, first.bytes.baseAddress, ZyanUSize(first.bytes.count), &info, operands)
            & 0x8000_0000 == 0
        {
            return first.bytes
        }
        return try acrossPages(address, user: user, mode)?.bytes
    }

    /// Decodes with Zydis; operands are in `operands` until the next call. Nil: no valid instruction.
    ///
    /// - Parameter narrowBranches: an operand-size prefix makes near branches 16-bit ones, as on AMD's CPUs.
    func decode(_ bytes: UnsafeBufferPointer<UInt8>, narrowBranches: Bool = false) -> ZydisDecodedInstruction? {
        var decoder = decoder
        if narrowBranches { ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_AMD_BRANCHES, 1) }
        var info = ZydisDecodedInstruction()
        let status = ZydisDecoderDecodeFull(
            &decoder, bytes.baseAddress, ZyanUSize(min(bytes.count, 15)), &info, operands)
        return status & 0x8000_0000 == 0 ? info : nil
    }
}
