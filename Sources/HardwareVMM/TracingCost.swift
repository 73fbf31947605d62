import CLinux
import Glibc
import Host
import Machine

/// What recording KVM's events costs on this host, and what the traced spans leave out, both measured.
///
/// A small guest of its own causes the same exit again and again, alternately with and without recording:
///
///     emulation   loop of plain ring-0 instructions       time an instruction, twice
///     hardware    loop around CPUID, which always exits   time an exit, twice
///
/// The difference is the cost of the events; for the hardware, what is left of an unrecorded exit beside the span between its two
/// events is the switch of the CPU out of the guest and into it again. The guest's own instructions in the loop are in that figure,
/// a nanosecond or so.
struct TracingCost: Equatable {
    /// One event's recording, in nanoseconds.
    var recordingNanoseconds: Double
    /// Out of the guest and in again, in nanoseconds; 0 where spans leave nothing out (emulation).
    var switchNanoseconds: Double

    private static let entry: UInt64 = 0x20_0000
    /// Each time is the median of so many: usual conditions, as the shortest would be of better ones than the guest meets.
    private static let pairs = 40

    /// Iterations of the guest's loop each time it is entered; few, as emulators of the hardware take long for each.
    private static func iterations(_ technique: KVMTracepoints.Technique) -> UInt32 {
        technique == .emulation ? 250 : 50
    }

    /// Measures with the events of `buffer`, which are of the calling thread and must not be recording.
    static func measure(_ tracepoints: KVMTracepoints, _ buffer: TraceBuffer) throws -> TracingCost {
        let system = try KVMSystem()
        let memory = try GuestMemory(bytes: 4 << 20)
        let machine = try VirtualMachine(system: system, memory: memory, hasPlatformDevices: false)
        let vcpu = try VirtualCPU(system: system, machine: machine)
        try vcpu.setCPUID(try system.supportedCPUID(), hasIrqchip: machine.hasIrqchip, hasDeadlineTimer: false)
        try code(tracepoints.technique).withUnsafeBytes { bytes in
            try memory.write(bytes: bytes, at: GuestPhysicalAddress(entry))
        }
        let state = try BootLoader.enterBare(at: entry, in: memory)
        try vcpu.enter(state, hasIrqchip: machine.hasIrqchip, presetXCR0: nil)

        func once() throws -> UInt64 {
            let begin = TimestampCounter.now()
            guard clinux_kvm_run(vcpu.descriptor.rawValue) == 0,
                Int32(bitPattern: vcpu.run.pointee.exit_reason) == KVM_EXIT_IO
            else { throw MachineError.last("KVM_RUN of the guest that measures what tracing costs") }
            return TimestampCounter.now() &- begin
        }
        var plain: [UInt64] = []
        var traced: [UInt64] = []
        var pairing = ExitPairing(tracepoints.technique)
        var spans: [UInt64] = []
        for _ in 0..<pairs {
            plain.append(try once())
            try buffer.start()
            traced.append(try once())
            buffer.stop()
            buffer.drain { record in
                let (event, time) = tracepoints.event(record)
                guard let exit = pairing.consume(event, at: time), !exit.reachedVMM, exit.recordings == 1 else {
                    return
                }
                if let nanoseconds = exit.nanoseconds { spans.append(nanoseconds) }
            }
        }
        func iteration(_ runs: [UInt64]) -> Double {
            TimestampCounter.nanoseconds(runs.sorted()[runs.count / 2]) / Double(iterations(tracepoints.technique))
        }
        return TracingCost(
            tracepoints.technique, plain: iteration(plain), traced: iteration(traced), spans: spans)
    }

    /// mov esi, count; loop: (body) dec esi; jnz loop; out 0x80, al; jmp to the start
    private static func code(_ technique: KVMTracepoints.Technique) -> [UInt8] {
        let body: [UInt8] = technique == .emulation ? [] : [0x31, 0xC0, 0x0F, 0xA2]  // xor eax, eax; cpuid
        let loop = body + [0xFF, 0xCE]
        let count = iterations(technique)
        var code: [UInt8] = [0xBE] + (0..<4).map { UInt8(truncatingIfNeeded: count >> (8 * $0)) }
        code += loop + [0x75, UInt8(bitPattern: Int8(-(loop.count + 2)))]
        code += [0xE6, 0x80]
        return code + [0xEB, UInt8(bitPattern: Int8(-(code.count + 2)))]
    }
}

extension TracingCost {
    /// From the time of one iteration, in nanoseconds, and the recorded spans.
    init(_ technique: KVMTracepoints.Technique, plain: Double, traced: Double, spans: [UInt64]) {
        // Two instructions, or one exit and one entry, an iteration.
        let recording = max(0, traced - plain) / 2
        switch technique {
        case .emulation: self.init(recordingNanoseconds: recording, switchNanoseconds: 0)
        case .hardware:
            let span = spans.isEmpty ? plain : Double(spans.sorted()[spans.count / 2])
            self.init(
                recordingNanoseconds: recording, switchNanoseconds: max(0, plain - max(0, span - recording)))
        }
    }
}
