import CLinux
import CZydis
import Glibc
import Translator

/// Runs one instruction twice from the same state: by the CPU itself, and as the translator's ring-0 code.
///
///     guest address                 native                       translated
///     code   0x1000_0000            executed in place            read, translated to the code buffer
///     data   0x2000_0000            mapped there                 mapped at window + 0x2000_0000
///
/// Everything else is unmapped in both, so wild accesses fault alike. What follows the instruction is HLT, which stops both.
final class DifferentialHarness {
    static let codeAddress: UInt64 = 0x1000_0000
    static let dataAddress: UInt64 = 0x2000_0000
    static let dataBytes = 64 << 10
    static let window: UInt64 = 0x4800_0000_0000

    struct State: Equatable {
        var registers = [UInt64](repeating: 0, count: 16)
        var flags: UInt64 = 2
        /// XMM/YMM registers, x87 stack and control words.
        var vector = [UInt8]()
        var rip: UInt64 = 0
        /// Hardware trap that ended it (HLT's #GP counts as none), and its address for page faults.
        var trap: UInt64?
        var address: UInt64?
    }

    private let state: UnsafeMutablePointer<vb_sw_vcpu>
    private let nativeCode: UnsafeMutableRawPointer
    private let nativeData: UnsafeMutableRawPointer
    private let guestData: UnsafeMutableRawPointer
    private let guestCode: UnsafeMutableRawPointer
    private let translatedCode: UnsafeMutableRawPointer
    private let area: UnsafeMutableRawPointer
    private let translator: Translator
    static let arithmeticFlags: UInt64 = 0x8D5 | 1 << 10

    private static func map(_ address: UInt64, _ bytes: Int, _ protection: Int32) -> UnsafeMutableRawPointer {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | (address == 0 ? 0 : Int32(MAP_FIXED_NOREPLACE))
        let result = mmap(UnsafeMutableRawPointer(bitPattern: UInt(address)), bytes, protection, flags, -1, 0)
        precondition(result != MAP_FAILED, "mmap of \(bytes) bytes at \(String(address, radix: 16))")
        return result!
    }

    init() {
        let readWrite = PROT_READ | PROT_WRITE
        let stateMemory = Self.map(0, MemoryLayout<vb_sw_vcpu>.size, readWrite)
        state = stateMemory.bindMemory(to: vb_sw_vcpu.self, capacity: 1)
        area = Self.map(0, 16 << 10, readWrite)
        nativeCode = Self.map(Self.codeAddress, 8192, readWrite | PROT_EXEC)
        nativeData = Self.map(Self.dataAddress, Self.dataBytes, readWrite)
        guestData = Self.map(Self.window + Self.dataAddress, Self.dataBytes, readWrite)
        guestCode = Self.map(Self.window + Self.codeAddress, 8192, readWrite)
        translatedCode = Self.map(0, 64 << 10, readWrite | PROT_EXEC)
        state.pointee.xsave = UInt64(UInt(bitPattern: area))
        state.pointee.xsave_capacity = 16 << 10
        state.pointee.xcr0 = vb_sw_xgetbv0() & 7
        state.pointee.vmm_begin = 0x5500_0000_0000
        state.pointee.code_begin = UInt64(UInt(bitPattern: translatedCode))
        state.pointee.code_end = state.pointee.code_begin + 64 << 10
        let stack = Self.map(0, 128 << 10, readWrite)
        vb_sw_prepare(state)
        precondition(vb_sw_install(state, stack, 128 << 10) == 0)
        let table = stateMemory.advanced(by: Int(VB_SW_TABLE)).assumingMemoryBound(to: UInt64.self)
        table.update(repeating: state.pointee.miss_stub, count: Int(VB_SW_TABLE_ENTRIES))
        translator = Translator(
            layout: VCPULayout(
                instructionPointer: VB_SW_RIP, branchTarget: VB_SW_TARGET, spillSlots: VB_SW_SPILL,
                exitKind: VB_SW_EXIT_KIND, exitIdentifier: VB_SW_EXIT_ID, exitStub: VB_SW_EXIT_STUB,
                missStub: VB_SW_MISS_STUB, guestFSBase: VB_SW_GUEST_FS, guestGSBase: VB_SW_GUEST_GS,
                virtualInterruptFlag: VB_SW_VIF, indirectTable: VB_SW_TABLE, chainExit: VB_SW_EXIT_CHAIN,
                emulateExit: VB_SW_EXIT_EMULATE),
            options: TranslationOptions(windowBase: Self.window))
    }

    deinit {
        vb_sw_uninstall()
        munmap(nativeCode, 8192)
        munmap(nativeData, Self.dataBytes)
        munmap(guestData, Self.dataBytes)
        munmap(guestCode, 8192)
        munmap(translatedCode, 64 << 10)
    }

    private var registers: UnsafeMutablePointer<UInt64> {
        UnsafeMutableRawPointer(state).assumingMemoryBound(to: UInt64.self)
    }

    private func enter(_ input: Input, at resume: UInt64, fs: UInt64, gs: UInt64) -> UInt64 {
        for index in 0..<16 { registers[index] = input.registers[index] }
        state.pointee.rflags = input.flags & Self.arithmeticFlags | 0x202
        memset(area, 0, 16 << 10)
        input.vector.withUnsafeBytes { area.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        state.pointee.resume = resume
        state.pointee.enter_fs = fs
        state.pointee.enter_gs = gs
        state.pointee.kick = 0
        return vb_sw_enter(state)
    }

    struct Input {
        var instruction: [UInt8]
        var registers: [UInt64]
        var flags: UInt64
        var data: [UInt8]
        /// A whole XSAVE image.
        var vector: [UInt8]
        var fsBase: UInt64
        var gsBase: UInt64
    }

    private func collect() -> State {
        var result = State()
        result.registers = (0..<16).map { registers[$0] }
        result.flags = state.pointee.rflags & Self.arithmeticFlags
        // Components the header calls initial hold nothing; the x87 instruction and data pointers differ by nature.
        let present = area.load(fromByteOffset: 512, as: UInt64.self)
        var image = [UInt8](UnsafeRawBufferPointer(start: area, count: 832))
        if present & 1 == 0 {
            for index in 0..<24 { image[index] = 0 }
            image[0] = 0x7F
            image[1] = 0x03
            for index in 32..<160 { image[index] = 0 }
        }
        for index in 6..<24 { image[index] = 0 }
        if present & 2 == 0 { for index in 160..<416 { image[index] = 0 } }
        if present & 4 == 0 { for index in 576..<832 { image[index] = 0 } }
        for index in 28..<32 { image[index] = 0 }
        for index in 416..<576 { image[index] = 0 }
        result.vector = image
        return result
    }

    func runNative(_ input: Input) -> (State, data: [UInt8]) {
        memset(nativeCode, 0xF4, 8192)
        input.instruction.withUnsafeBytes { nativeCode.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        input.data.withUnsafeBytes { nativeData.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        let kind = enter(input, at: Self.codeAddress, fs: input.fsBase, gs: input.gsBase)
        precondition(kind == UInt64(VB_SW_EXIT_TRAP))
        var result = collect()
        result.rip = state.pointee.resume
        note(
            trapOf: &result,
            isHalt: { rip in
                let inside = rip >= Self.codeAddress && rip < Self.codeAddress + 8192
                return inside
                    && self.nativeCode.load(fromByteOffset: Int(rip - Self.codeAddress), as: UInt8.self) == 0xF4
            }, offset: 0)
        return (result, [UInt8](UnsafeRawBufferPointer(start: nativeData, count: Self.dataBytes)))
    }

    private func note(trapOf result: inout State, isHalt: (UInt64) -> Bool, offset: UInt64) {
        let vector = state.pointee.trap_number
        if vector == 13 && isHalt(result.rip) { return }
        // A fetch that faults behind a branch is where the branch went, not a trap of the instruction.
        if vector == 14 && state.pointee.trap_error & 16 != 0 { return }
        result.trap = vector
        if vector == 14 { result.address = state.pointee.trap_address &- offset }
    }

    func runTranslated(_ input: Input) throws -> (State, data: [UInt8]) {
        var bytes = input.instruction
        bytes += [UInt8](repeating: 0xF4, count: 64)
        input.data.withUnsafeBytes { guestData.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        let block = try bytes.withUnsafeBufferPointer { try translator.translate(Self.codeAddress, bytes: $0) }
        block.code.withUnsafeBytes { translatedCode.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        for (number, exit) in block.exits.enumerated() {
            (translatedCode + exit.identifierOffset).storeBytes(of: UInt32(number), as: UInt32.self)
        }
        // RIP-relative operands see the code itself.
        memset(guestCode, 0xF4, 8192)
        input.instruction.withUnsafeBytes { guestCode.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        state.pointee.guest_fs_base = input.fsBase
        state.pointee.guest_gs_base = input.gsBase
        let kind = enter(
            input, at: state.pointee.code_begin + UInt64(block.directEntry), fs: Self.window,
            gs: UInt64(UInt(bitPattern: state)))
        var result: State
        switch Int32(truncatingIfNeeded: kind) {
        case VB_SW_EXIT_EMULATE:
            result = collect()
            result.rip = state.pointee.rip
        case VB_SW_EXIT_CHAIN:
            result = collect()
            result.rip = block.exits[Int(state.pointee.exit_id)].target
        case VB_SW_EXIT_INDIRECT:
            result = collect()
            result.rip = state.pointee.target
        default:
            result = collect()
            undo(block.entry(at: UInt32(truncatingIfNeeded: state.pointee.resume &- state.pointee.code_begin)), &result)
            note(trapOf: &result, isHalt: { _ in false }, offset: Self.window)
        }
        return (result, [UInt8](UnsafeRawBufferPointer(start: guestData, count: Self.dataBytes)))
    }

    private func undo(_ entry: MapEntry, _ result: inout State) {
        if entry.undo.contains(.relocatedRDI) { result.registers[7] &-= Self.window }
        if entry.undo.contains(.relocatedRSI) { result.registers[6] &-= Self.window }
        let spills = UnsafeMutableRawPointer(state).advanced(by: Int(VB_SW_SPILL)).assumingMemoryBound(to: UInt64.self)
        for register in Register.allCases where entry.undo.contains(.spilled(register)) {
            result.registers[Int(register.rawValue)] = spills[Int(register.rawValue)]
        }
        result.rip = entry.undo.contains(.branchTaken) ? state.pointee.target : entry.guestRIP
    }
}
