import CTesting
import Glibc
import Machine

@testable import Interpreter

/// 32-bit code at its own addresses in this process, run by the CPU, and a copy of the same memory for the interpreter.
///
///     0x1000_0000  code: the instruction, a far jump back; at +0x80 another one for taken branches; at +0x100 the 64-bit stubs
///     0x1001_0000  data and stack, 32 KiB
///
/// Safety: the mappings live as long as the object; generated instructions stay inside the data (see `InstructionTests`).
final class NativeCode: InterpreterBus {
    static let code: UInt64 = 0x1000_0000
    static let data: UInt64 = 0x1001_0000
    static let dataBytes = 32 << 10
    static let takenOffset: UInt64 = 0x80

    private let native: UnsafeMutableRawPointer
    private let copy: UnsafeMutableRawPointer
    private static let bytes = 128 << 10

    init() {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS
        native = mmap(
            UnsafeMutableRawPointer(bitPattern: UInt(Self.code)), Self.bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
            flags | Int32(MAP_FIXED_NOREPLACE), -1, 0)
        precondition(native != MAP_FAILED, "the test's addresses are taken")
        copy = mmap(nil, Self.bytes, PROT_READ | PROT_WRITE, flags, -1, 0)
    }

    deinit {
        munmap(native, Self.bytes)
        munmap(copy, Self.bytes)
    }

    /// Puts instruction and data into both memories.
    func prepare(_ instruction: [UInt8], data: [UInt8]) {
        memset(native, 0, 0x200)
        place(instruction + Self.farJump(to: Self.code + 0x100), at: 0)
        place(Self.farJump(to: Self.code + 0x120), at: Int(Self.takenOffset))
        place(Self.stub(way: 0), at: 0x100)
        place(Self.stub(way: 1), at: 0x120)
        place(data, at: Int(Self.data - Self.code))
        copy.copyMemory(from: native, byteCount: Self.bytes)
    }

    private func place(_ bytes: [UInt8], at offset: Int) {
        bytes.withUnsafeBytes { (native + offset).copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    }

    private static func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    /// ljmp $0x33, $address: Linux's 64-bit user code segment.
    private static func farJump(to address: UInt64) -> [UInt8] {
        [0xEA] + little(UInt32(address)) + [0x33, 0]
    }

    /// mov r14d, way; mov r15, ctesting_run32_back; jmp r15
    private static func stub(way: UInt32) -> [UInt8] {
        let back: @convention(c) () -> Void = ctesting_run32_back
        return [0x41, 0xBE] + little(way) + [0x49, 0xBF]
            + little(UInt64(UInt(bitPattern: unsafeBitCast(back, to: Int.self))))
            + [0x41, 0xFF, 0xE7]
    }

    struct Result: Equatable {
        var registers: [UInt32]
        var flags: UInt32
        var taken: Bool
        var data: [UInt8]
    }

    func runNatively(_ registers: [UInt32], flags: UInt32) -> Result {
        var state = ctesting_state32()
        withUnsafeMutableBytes(of: &state.gpr) { $0.copyBytes(from: registers.flatMap(Self.little)) }
        state.eflags = flags | 0x202
        ctesting_run32(&state, UInt32(Self.code))
        let gpr = withUnsafeBytes(of: &state.gpr) { Array($0.bindMemory(to: UInt32.self)) }
        return Result(registers: gpr, flags: state.eflags, taken: state.way == 1, data: contents(native))
    }

    private func contents(_ base: UnsafeMutableRawPointer) -> [UInt8] {
        [UInt8](UnsafeRawBufferPointer(start: base + Int(Self.data - Self.code), count: Self.dataBytes))
    }

    /// A 32-bit protected-mode processor at the code with flat segments and these registers.
    func processor(_ registers: [UInt32], flags: UInt32) -> Interpreter {
        let interpreter = Interpreter(bus: self)
        interpreter.setControl(cr0: 0x11, cr2: 0, cr3: 0, cr4: 0, efer: 0)
        for number in 0..<6 { interpreter.setSegment(number, .data(0x10)) }
        interpreter.setSegment(1, .code32(0x08))
        for (number, value) in registers.enumerated() { interpreter.registers[number] = UInt64(value) }
        interpreter.setProgram(rip: Self.code, flags: UInt64(flags))
        interpreter.gdtLimit = 0
        return interpreter
    }

    func result(_ interpreter: Interpreter) -> Result {
        Result(
            registers: (0..<8).map { UInt32(truncatingIfNeeded: interpreter.registers[$0]) },
            flags: UInt32(truncatingIfNeeded: interpreter.flags),
            taken: interpreter.rip == Self.code + Self.takenOffset, data: contents(copy))
    }

    // MARK: InterpreterBus

    func page(at physical: UInt64, forWriting: Bool) -> UnsafeMutableRawPointer? {
        guard physical >= Self.code, physical < Self.code + UInt64(Self.bytes) else { return nil }
        return copy + Int(physical - Self.code)
    }
    func readDevice(_ physical: UInt64, size: Int) -> UInt64? { nil }
    func writeDevice(_ physical: UInt64, size: Int, value: UInt64) -> Bool { false }
    func readPort(_ port: UInt16, size: Int) -> UInt32 { 0xFFFF_FFFF }
    func writePort(_ port: UInt16, size: Int, value: UInt32) {}
    func readMSR(_ number: UInt32) -> UInt64? { nil }
    func writeMSR(_ number: UInt32, _ value: UInt64) -> Bool { false }
    func cpuid(
        _ leaf: UInt32, _ subleaf: UInt32, cr4: UInt64
    ) -> (eax: UInt32, ebx: UInt32, ecx: UInt32, edx: UInt32) { (0, 0, 0, 0) }
    func timestamp() -> UInt64 { 0 }
    var taskPriority: UInt64 {
        get { 0 }
        set {}
    }
    var offeredCR4: UInt64 { 0 }
    func resetFPU() {}
}
