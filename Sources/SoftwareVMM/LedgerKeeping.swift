import CLinux
import Machine

/// What goes into the ledger beside the exits that the run loop records.
extension SoftwareMachine {
    /// What trampolines have carried out since the last time belongs to the phase that now ends.
    func countInlineOperations() {
        let calls = cpu.state.pointee.inline_syscalls
        let returns = cpu.state.pointee.inline_returns
        ledger.countInline(.systemCall, calls &- countedCalls)
        ledger.countInline(.interruptReturn, returns &- countedReturns)
        (countedCalls, countedReturns) = (calls, returns)
    }

    /// Port reads that were answered without leaving translated code.
    func recordPortReads() {
        let count = cpu.state.pointee.port_reads
        guard count > 0 else { return }
        cpu.state.pointee.port_reads = 0
        guard keepsLedger else { return }
        let log = UnsafeRawPointer(cpu.state).advanced(by: Int(VB_SW_PORT_LOG)).assumingMemoryBound(to: UInt32.self)
        for index in 0..<Int(count) {
            ledger.record(.portIO, raw: RawExit.trampoline.rawValue, cycles: UInt64(log[index]))
        }
    }

    /// For profile trials: where the exit came from.
    func noteSite(_ sites: ExitSites, cycles: UInt64) {
        sites.record(exitReason, phase: ledger.phase, rip: exitOrigin.rip, ring: exitOrigin.ring, cycles: cycles)
    }

    func addLedger(to outcome: inout MachineOutcome) {
        guard keepsLedger else {
            outcome.ledgerUnavailable = MachineConfiguration.ledgerIsOff
            return
        }
        outcome.exits = ledger.summaries().map { line in
            var line = line
            let raw = RawExit.allCases.first { $0.name == line.rawReason }
            if line.handler == .vmm { line.transitionCycles = raw.flatMap { transitions?.cycles($0) } }
            return line
        }
        outcome.phases = ledger.phaseSummaries
        outcome.sites = exitSites?.summaries
        outcome.droppedSites = exitSites?.dropped ?? 0
        if transitions == nil {
            outcome.countersUnavailable["software.transitionCycles"] = "the host refused the page to measure them with"
        }
    }
}
