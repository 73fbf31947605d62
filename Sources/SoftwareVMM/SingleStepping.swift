import CLinux
import Machine

/// RFLAGS.TF: a debug exception behind every instruction (Intel SDM vol. 3, 18.3.1.4).
///
/// Ring 3 is run directly with TF in the CPU. Ring 0 is run in blocks of one instruction that always end in an exit. What
/// counts is TF when the instruction begins; an instruction that ends in an exception or an INT has no trap of its own.
extension SoftwareMachine {
    /// DR6.BS (Intel SDM vol. 3, 18.2.3).
    private static let singleStepBit: UInt64 = 1 << 14

    /// A block of the instruction at RIP alone. It goes when that has run.
    func blockOfOneStep() throws(MachineStop) -> Int {
        do throws(GuestException) {
            let block = try translateBlock()
            steppedBlock = block
            return block
        } catch {
            // The fetch faults: the handler is entered with TF clear.
            stepping = false
            try deliver(error)
            return try blockForCurrentRIP()
        }
    }

    /// An exit of translated code that was entered for one step. `completed`: the instruction has run.
    func finishStep(completed: Bool) throws(MachineStop) {
        if let block = steppedBlock { cache.remove(block) }
        steppedBlock = nil
        stepping = false
        guard completed, pendingStop == nil, exceptionsEntered == exceptionsBeforeStep else { return }
        // Not between a load of SS and the instruction behind it.
        if cpu.debugShadow { cpu.debugShadow = false } else { try deliverStepTrap() }
    }

    func deliverStepTrap() throws(MachineStop) {
        exitReason = .exception
        cpu.debugRegisters[6] |= Self.singleStepBit
        try deliver(GuestException(vector: GuestException.debug))
    }
}
