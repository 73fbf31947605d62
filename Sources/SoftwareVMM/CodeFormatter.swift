import CZydis

/// Instructions as Intel-syntax text, by Zydis.
final class CodeFormatter {
    struct Line {
        /// In the bytes given.
        var offset: Int
        var length: Int
        var text: String
    }

    private var decoder = ZydisDecoder()
    private var formatter = ZydisFormatter()

    init() {
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)
        ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)
        // Numbers without leading zeros, in small letters as addresses are everywhere.
        for property in [
            ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE, ZYDIS_FORMATTER_PROP_ADDR_PADDING_RELATIVE,
            ZYDIS_FORMATTER_PROP_DISP_PADDING, ZYDIS_FORMATTER_PROP_IMM_PADDING,
        ] {
            ZydisFormatterSetProperty(&formatter, property, ZyanUPointer(ZYDIS_PADDING_DISABLED.rawValue))
        }
        ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, 0)
    }

    /// The instruction at `offset` of code that lies at `address`; what is none has length 1. Nil at the end.
    func line(_ code: UnsafeBufferPointer<UInt8>, offset: Int, address: UInt64) -> Line? {
        guard offset < code.count, let base = code.baseAddress else { return nil }
        var instruction = ZydisDecodedInstruction()
        return withUnsafeTemporaryAllocation(
            of: ZydisDecodedOperand.self, capacity: Int(ZYDIS_MAX_OPERAND_COUNT)
        ) { operands in
            let decoded = ZydisDecoderDecodeFull(
                &decoder, base + offset, ZyanUSize(min(code.count - offset, Int(ZYDIS_MAX_INSTRUCTION_LENGTH))),
                &instruction, operands.baseAddress)
            let failed: UInt32 = 0x8000_0000
            guard decoded & failed == 0 else { return Line(offset: offset, length: 1, text: "(no instruction)") }
            let text = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
                ZydisFormatterFormatInstruction(
                    &formatter, &instruction, operands.baseAddress, instruction.operand_count_visible,
                    buffer.baseAddress, ZyanUSize(buffer.count), address &+ UInt64(offset), nil)
                return String(cString: buffer.baseAddress!)
            }
            return Line(offset: offset, length: Int(instruction.length), text: text)
        }
    }
}
