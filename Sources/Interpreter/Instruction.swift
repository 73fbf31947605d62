import CZydis

/// One decoded instruction, as little of it as is needed to carry it out, so that it can be kept.
struct Instruction {
    var operation: Operation
    var length: UInt8
    /// Operand and address size in bytes.
    var width: UInt8
    var addressWidth: UInt8
    /// REP (F3) or REPNE (F2) of a string instruction.
    var repeats: Repeat
    /// Low four bits of the opcode: the condition of Jcc, SETcc and CMOVcc.
    var condition: UInt8
    /// A far transfer.
    var isFar: Bool
    /// Segment of a hidden memory source: string instructions and XLAT.
    var sourceSegment: UInt8
    /// Segment register that LES, LDS, LSS, LFS or LGS loads.
    var loadedSegment: UInt8 = 3
    /// Explicit operands.
    var count: UInt8
    var first = Operand()
    var second = Operand()
    var third = Operand()

    enum Repeat: UInt8 { case none, whileEqual, whileNotEqual }
}

/// An explicit operand.
struct Operand {
    enum Kind: UInt8 { case none, register, highByte, segment, control, debug, memory, immediate, relative, far }

    var kind = Kind.none
    /// Bytes.
    var size: UInt8 = 0
    var register: UInt8 = 0
    /// Registers of a memory operand; -1: none.
    var base: Int8 = -1
    var index: Int8 = -1
    var scale: UInt8 = 0
    var segment: UInt8 = 3
    var isRelativeToIP = false
    var selector: UInt16 = 0
    /// Displacement, immediate (sign-extended where the instruction says so) or offset of a far pointer.
    var value: UInt64 = 0
}

/// Decodes with Zydis.
///
/// Safety: `decoders` and `operands` live from init to deinit.
final class Decoder {
    /// How code is read: CS.D and CS.L, CR0.PE, EFER.LMA.
    enum Mode: Int { case real16, real32, legacy16, legacy32, compatibility16, compatibility32, long64 }

    enum Failure: Error { case truncated, invalid, unsupported }

    private let decoders: UnsafeMutablePointer<ZydisDecoder>
    private let operands: UnsafeMutablePointer<ZydisDecodedOperand>
    private static let modes: [(ZydisMachineMode, ZydisStackWidth)] = [
        (ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16), (ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32),
        (ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16), (ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32),
        (ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16),
        (ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32), (ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64),
    ]

    init() {
        decoders = .allocate(capacity: Self.modes.count)
        for (index, mode) in Self.modes.enumerated() {
            decoders[index] = ZydisDecoder()
            ZydisDecoderInit(decoders + index, mode.0, mode.1)
        }
        operands = .allocate(capacity: Int(ZYDIS_MAX_OPERAND_COUNT))
    }

    deinit {
        decoders.deallocate()
        operands.deallocate()
    }

    func decode(_ bytes: UnsafeBufferPointer<UInt8>, _ mode: Mode) throws(Failure) -> Instruction {
        var info = ZydisDecodedInstruction()
        let status = ZydisDecoderDecodeFull(
            decoders + mode.rawValue, bytes.baseAddress, ZyanUSize(min(bytes.count, 15)), &info, operands)
        guard status & 0x8000_0000 == 0 else {
            // ZYDIS_STATUS_NO_MORE_DATA: module 2 (Zydis), code 0.
            throw status == 0x8020_0000 && bytes.count < 15 ? .truncated : .invalid
        }
        guard let operation = Operation.of(info) else { throw .unsupported }
        var instruction = Instruction(
            operation: operation, length: info.length, width: info.operand_width / 8,
            addressWidth: info.address_width / 8, repeats: Self.repeats(info), condition: info.opcode & 15,
            isFar: info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR, sourceSegment: 3, count: info.operand_count_visible)
        for index in 0..<Int(info.operand_count) {
            let operand = operands[index]
            if index >= Int(info.operand_count_visible) {
                // Hidden sources of string instructions and XLAT; the destination's base is RDI.
                if operand.type == ZYDIS_OPERAND_TYPE_MEMORY, Self.general(operand.mem.base) != 7 {
                    instruction.sourceSegment = Self.segment(operand.mem.segment)
                }
                // The register that LES and its kin load.
                if operand.type == ZYDIS_OPERAND_TYPE_REGISTER, operation == .loadFarPointer {
                    instruction.loadedSegment = Self.segment(operand.reg.value)
                }
                continue
            }
            let converted = try Self.convert(operand)
            switch index {
            case 0: instruction.first = converted
            case 1: instruction.second = converted
            case 2: instruction.third = converted
            default: break
            }
        }
        return instruction
    }

    private static func repeats(_ info: ZydisDecodedInstruction) -> Instruction.Repeat {
        if info.attributes & UInt64(ZYDIS_ATTRIB_HAS_REPNE) != 0 { return .whileNotEqual }
        let any = UInt64(ZYDIS_ATTRIB_HAS_REP) | UInt64(ZYDIS_ATTRIB_HAS_REPE)
        return info.attributes & any != 0 ? .whileEqual : .none
    }

    private static func convert(_ source: ZydisDecodedOperand) throws(Failure) -> Operand {
        var operand = Operand()
        operand.size = UInt8(truncatingIfNeeded: source.size / 8)
        switch source.type {
        case ZYDIS_OPERAND_TYPE_REGISTER:
            let identifier = UInt8(bitPattern: ZydisRegisterGetId(source.reg.value))
            switch ZydisRegisterGetClass(source.reg.value) {
            case ZYDIS_REGCLASS_GPR8:
                // AL…BL, AH…BH, SPL…DIL, R8B… in this order (Zydis/Register.h).
                operand.kind = 4...7 ~= identifier ? .highByte : .register
                operand.register = identifier < 4 ? identifier : identifier - 4
            case ZYDIS_REGCLASS_GPR16, ZYDIS_REGCLASS_GPR32, ZYDIS_REGCLASS_GPR64:
                operand.kind = .register
                operand.register = identifier
            case ZYDIS_REGCLASS_SEGMENT:
                operand.kind = .segment
                operand.register = identifier
            case ZYDIS_REGCLASS_CONTROL:
                operand.kind = .control
                operand.register = identifier
            case ZYDIS_REGCLASS_DEBUG:
                operand.kind = .debug
                operand.register = identifier
            default: throw .unsupported
            }
        case ZYDIS_OPERAND_TYPE_MEMORY:
            operand.kind = .memory
            let base = source.mem.base
            operand.isRelativeToIP = base == ZYDIS_REGISTER_RIP || base == ZYDIS_REGISTER_EIP
            operand.base = operand.isRelativeToIP ? -1 : general(base)
            operand.index = general(source.mem.index)
            operand.scale = source.mem.scale
            operand.segment = segment(source.mem.segment)
            operand.value = UInt64(bitPattern: source.mem.disp.value)
        case ZYDIS_OPERAND_TYPE_IMMEDIATE:
            operand.kind = source.imm.is_relative != 0 ? .relative : .immediate
            operand.value = source.imm.value.u
        case ZYDIS_OPERAND_TYPE_POINTER:
            operand.kind = .far
            operand.selector = source.ptr.segment
            operand.value = UInt64(source.ptr.offset)
        default: throw .unsupported
        }
        return operand
    }

    private static func general(_ register: ZydisRegister) -> Int8 {
        switch ZydisRegisterGetClass(register) {
        case ZYDIS_REGCLASS_GPR16, ZYDIS_REGCLASS_GPR32, ZYDIS_REGCLASS_GPR64: ZydisRegisterGetId(register)
        default: -1
        }
    }

    private static func segment(_ register: ZydisRegister) -> UInt8 {
        guard ZydisRegisterGetClass(register) == ZYDIS_REGCLASS_SEGMENT else { return 3 }
        return UInt8(bitPattern: ZydisRegisterGetId(register))
    }
}
