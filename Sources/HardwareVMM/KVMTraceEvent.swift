import Host
import Machine

/// What KVM tells of a vCPU by its tracepoints, as far as exits are concerned.
enum KVMTraceEvent: Equatable {
    /// kvm_exit: the CPU left the guest.
    case exit(KernelExitCause, rip: UInt64)
    /// kvm_entry: the CPU enters the guest.
    case entry
    /// kvm_emulate_insn: KVM is about to carry out an instruction.
    case emulated(KernelExitCause, rip: UInt64, returnsToUser: Bool)
    /// kvm_emulate_insn once more for the same instruction, which the emulator leaves to others.
    case emulationFailed
    /// kvm_inj_exception: the guest will see an exception.
    case exception(vector: UInt8)
    /// kvm_userspace_exit: KVM_RUN comes back.
    case userspaceExit
    /// kvm_fpu, guest state loaded: KVM_RUN has begun.
    case userspaceReturn
    /// The host took the CPU from the vCPU's thread, or the thread waits.
    case switchedOut
    case switchedIn
    /// Any other hit, of no meaning here.
    case irrelevant
    /// The buffer was full for so many hits.
    case lost(UInt64)
}

/// What an exit that KVM took was for.
struct KernelExitCause: Hashable {
    /// The cause as this flavour of KVM has it.
    enum Raw: Hashable {
        case vmx(UInt16)
        case svm(UInt32)
        /// An instruction of guest ring 0 that flavour pvm emulates.
        case emulation(EmulatedInstruction)
        /// An exception that flavour pvm injects.
        case injected(vector: UInt8)
    }

    var raw: Raw
    var reason: ExitReason

    init(raw: Raw, reason: ExitReason) {
        self.raw = raw
        self.reason = reason
    }

    /// Of kvm_exit's fields. `isa` is 1 for VMX and 2 for SVM (KVM_ISA_… in arch/x86/kvm/trace.h).
    init(isa: UInt32, code: UInt32, information: UInt64, interruption: UInt32) {
        if isa == 1 {
            let number = UInt16(truncatingIfNeeded: code)
            self.init(raw: .vmx(number), reason: VMXExitReason.reason(number, interruption: interruption))
        } else {
            self.init(raw: .svm(code), reason: SVMExitCode.reason(code, information: information))
        }
    }

    static func injected(_ vector: UInt8) -> KernelExitCause {
        KernelExitCause(raw: .injected(vector: vector), reason: vector == 14 ? .guestPageFault : .exception)
    }

    /// The technique's own name for it.
    var name: String {
        switch raw {
        case .vmx(let number): VMXExitReason.row(number)?.name ?? "VMX exit \(number)"
        case .svm(let code): SVMExitCode.row(code)?.name ?? "SVM exit 0x\(String(code, radix: 16))"
        case .emulation(let instruction): instruction.name
        case .injected(let vector): "inject #" + (ExceptionVector.mnemonic(vector) ?? "\(vector)")
        }
    }
}

/// KVM's tracepoints that an exit ledger needs, and how to read their records.
struct KVMTracepoints {
    /// How exits show in the stream of events.
    enum Technique {
        /// kvm_exit and kvm_entry in pairs: VT-x and AMD-V.
        case hardware
        /// Every instruction of guest ring 0 is emulated: pvm.
        case emulation
    }

    let technique: Technique
    let all: [Tracepoint]
    private let exit: ExitFields?
    private let emulation: EmulationFields?
    private let exceptionVector: Tracepoint.Field
    private let fpuLoad: Tracepoint.Field?
    private let exitID, entryID, emulationID, exceptionID, userspaceID, fpuID: UInt16?

    private struct ExitFields {
        var code, rip, isa, information: Tracepoint.Field
        /// Absent before Linux 5.10.
        var interruption: Tracepoint.Field?
    }

    private struct EmulationFields {
        var rip, length, bytes, failed: Tracepoint.Field
    }

    /// - Throws: `Tracepoint.Unavailable` where one that is needed is missing.
    init(flavour: KVMFlavour) throws(Tracepoint.Unavailable) {
        func find(_ event: String) throws(Tracepoint.Unavailable) -> Tracepoint {
            try Tracepoint(system: "kvm", event: event)
        }
        let exception = try find("kvm_inj_exception")
        let userspace = try find("kvm_userspace_exit")
        // Without it, the way back into KVM_RUN is not timed.
        let fpu = try? find("kvm_fpu")
        var all = [exception, userspace] + (fpu.map { [$0] } ?? [])
        if flavour == .pvm {
            technique = .emulation
            let point = try find("kvm_emulate_insn")
            all.append(point)
            emulation = EmulationFields(
                rip: try Self.field("rip", of: point, bytes: 8), length: try Self.field("len", of: point, bytes: 1),
                bytes: try Self.field("insn", of: point, bytes: 15),
                failed: try Self.field("failed", of: point, bytes: 1))
            emulationID = point.id
            (exit, exitID, entryID) = (nil, nil, nil)
        } else {
            technique = .hardware
            let (out, into) = (try find("kvm_exit"), try find("kvm_entry"))
            all += [out, into]
            exit = ExitFields(
                code: try Self.field("exit_reason", of: out, bytes: 4),
                rip: try Self.field("guest_rip", of: out, bytes: 8), isa: try Self.field("isa", of: out, bytes: 4),
                information: try Self.field("info1", of: out, bytes: 8),
                interruption: try? Self.field("intr_info", of: out, bytes: 4))
            (exitID, entryID) = (out.id, into.id)
            (emulation, emulationID) = (nil, nil)
        }
        self.all = all
        exceptionVector = try Self.field("exception", of: exception, bytes: 1)
        exceptionID = exception.id
        userspaceID = userspace.id
        fpuID = fpu?.id
        fpuLoad = try fpu.map { point throws(Tracepoint.Unavailable) in try Self.field("load", of: point, bytes: 4) }
    }

    private static func field(
        _ name: String, of point: Tracepoint, bytes: Int
    ) throws(Tracepoint.Unavailable) -> Tracepoint.Field {
        guard let field = point.fields[name], field.size == bytes else {
            throw Tracepoint.Unavailable(
                reason: "\(point.name) has no field \(name) of \(bytes) bytes in this kernel",
                remedy: "please report the kernel's version")
        }
        return field
    }

    /// The event that a record tells of.
    func event(_ record: TraceBuffer.Record) -> (event: KVMTraceEvent, nanoseconds: UInt64) {
        switch record {
        case .lost(let count): return (.lost(count), 0)
        case .switched(let out, let time): return (out ? .switchedOut : .switchedIn, time)
        case .hit(let time, let fields):
            guard fields.count >= 2 else { return (.irrelevant, time) }
            return (event(fields), time)
        }
    }

    private func event(_ bytes: UnsafeRawBufferPointer) -> KVMTraceEvent {
        let id = bytes.loadUnaligned(as: UInt16.self)
        if id == emulationID, let emulation { return Self.emulated(bytes, emulation) }
        if id == entryID { return .entry }
        if id == exitID, let exit {
            let cause = KernelExitCause(
                isa: UInt32(Self.number(bytes, exit.isa)), code: UInt32(Self.number(bytes, exit.code)),
                information: Self.number(bytes, exit.information),
                interruption: exit.interruption.map { UInt32(Self.number(bytes, $0)) } ?? 0)
            return .exit(cause, rip: Self.number(bytes, exit.rip))
        }
        if id == exceptionID {
            return .exception(vector: UInt8(truncatingIfNeeded: Self.number(bytes, exceptionVector)))
        }
        if id == userspaceID { return .userspaceExit }
        if id == fpuID, let fpuLoad { return Self.number(bytes, fpuLoad) != 0 ? .userspaceReturn : .irrelevant }
        return .irrelevant
    }

    private static func emulated(_ bytes: UnsafeRawBufferPointer, _ fields: EmulationFields) -> KVMTraceEvent {
        if number(bytes, fields.failed) != 0 { return .emulationFailed }
        let length = min(Int(number(bytes, fields.length)), fields.bytes.size)
        guard fields.bytes.offset + length <= bytes.count else { return .irrelevant }
        let code = UnsafeRawBufferPointer(rebasing: bytes[fields.bytes.offset..<fields.bytes.offset + length])
        let instruction = EmulatedInstruction(code)
        return .emulated(
            KernelExitCause(raw: .emulation(instruction), reason: instruction.reason), rip: number(bytes, fields.rip),
            returnsToUser: instruction == .interruptReturn || instruction == .fastReturn)
    }

    /// A field as a number; 0 where the record is too short for it.
    @inline(__always)
    private static func number(_ bytes: UnsafeRawBufferPointer, _ field: Tracepoint.Field) -> UInt64 {
        guard field.offset + field.size <= bytes.count else { return 0 }
        return switch field.size {
        case 8: bytes.loadUnaligned(fromByteOffset: field.offset, as: UInt64.self)
        case 4: UInt64(bytes.loadUnaligned(fromByteOffset: field.offset, as: UInt32.self))
        case 2: UInt64(bytes.loadUnaligned(fromByteOffset: field.offset, as: UInt16.self))
        case 1: UInt64(bytes[field.offset])
        default: 0
        }
    }
}
