import CZydis

enum InstructionLength {
    /// Length of the instruction `bytes` begin with. Nil: there is none.
    static func of(_ bytes: ArraySlice<UInt8>) -> Int? {
        var decoder = ZydisDecoder()
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)
        var info = ZydisDecodedInstruction()
        let status = bytes.withUnsafeBytes {
            ZydisDecoderDecodeInstruction(&decoder, nil, $0.baseAddress, ZyanUSize($0.count), &info)
        }
        return status & 0x8000_0000 == 0 ? Int(info.length) : nil
    }
}
