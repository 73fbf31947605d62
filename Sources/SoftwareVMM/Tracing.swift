import CLinux
import Machine
import Translator

/// What a machine with a tracer does besides.
extension SoftwareMachine {
    /// The guest has just been left.
    func noteOrigin(ofExit kind: Int32) {
        exitOrigin = (ripOfExit(kind), cpu.privilege)
        // A trap or a kick comes before or in the middle of an instruction, the other exits behind one.
        tracer?.left(at: exitOrigin.rip, byInterruption: kind == VB_SW_EXIT_TRAP || kind == VB_SW_EXIT_KICK)
    }

    private func ripOfExit(_ kind: Int32) -> UInt64 {
        if cpu.state.pointee.direct != 0 { return cpu.state.pointee.resume }
        switch kind {
        case VB_SW_EXIT_CHAIN: return cache.target(ofExit: cpu.state.pointee.exit_id)
        // Of a return it is where ring 3 goes on that is known.
        case VB_SW_EXIT_INDIRECT, VB_SW_EXIT_TO_USER: return cpu.state.pointee.target
        case VB_SW_EXIT_EMULATE: return cpu.state.pointee.rip
        default:
            let host = cpu.state.pointee.resume
            guard host >= cpu.state.pointee.code_begin, host < cpu.state.pointee.code_end,
                let number = cache.block(containing: host)
            else { return cpu.rip }
            let entry = cache.blocks[number].entry(at: host)
            return entry.undo.contains(.branchTaken) ? entry.guestRIP &+ cpu[GPR.rcx] : entry.guestRIP
        }
    }

    /// The guest is about to be entered.
    ///
    /// - Parameters:
    ///   - cycles: what the exit before took.
    ///   - resumes: in the middle of an instruction; else at `cpu.rip`.
    func traceEntry(_ tracer: ExecutionTracer, cycles: UInt64, resumes: Bool) {
        tracer.exited(
            exitReason, rip: exitOrigin.rip, ring: exitOrigin.ring, cycles: cycles, now: exitTSC, tscHertz: tscHertz)
        guard tracer.kind == .instructions, !resumes else { return }
        tracer.completes(registers: { cpu[$0] }, flags: cpu.flags)
        enteredStep = tracer.stepsThrough(cpu.rip)
        guard enteredStep, let bytes = try? fetch.instruction(cpu.rip, user: cpu.privilege == 3, cpu.pagingMode) else {
            return
        }
        tracer.begins(at: cpu.rip, code: bytes, registers: { cpu[$0] }, flags: cpu.flags)
    }

    /// Whether a branch may go straight to the block at a guest address: not past the tracer.
    func mayLink(to target: UInt64) -> Bool {
        guard let tracer, tracer.kind == .instructions else { return true }
        return !enteredStep && !tracer.stepsThrough(target)
    }

    /// Whether indirect branches may find blocks by themselves: not where instructions are traced, since they go by the address
    /// alone.
    var mayEnterInTable: Bool { tracer?.kind != .instructions }
}
