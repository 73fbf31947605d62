import CZydis
import Translator

/// CR0.EM, CR0.MP, CR0.TS and CR4.TSD: instructions that the guest has asked to fault. While any are, ring 3 is translated.
extension SoftwareMachine {
    /// CR0 or CR4 has changed.
    func updateWithheldInstructions() {
        let emulates = cpu.cr0 & 1 << 2 != 0
        let switched = cpu.cr0 & 1 << 3 != 0
        var withheld: WithheldInstructions = []
        if emulates || switched { withheld.formUnion([.x87, .sse]) }
        if switched { withheld.insert(.avx) }
        if switched && cpu.cr0 & 1 << 1 != 0 { withheld.insert(.wait) }
        if cpu.cr4 & 1 << 2 != 0 { withheld.insert(.timestamp) }
        guard withheld != translators.withheld else { return }
        translators.withheld = withheld
        cache.flush()
    }

    /// The exception that the decoded instruction (operands are the decoder's) raises because it is withheld.
    func withheldException(_ info: ZydisDecodedInstruction) -> GuestException? {
        guard !translators.withheld.isEmpty else { return nil }
        let operands = UnsafeBufferPointer<ZydisDecodedOperand>(start: fetch.operands, count: Int(info.operand_count))
        let kind = WithheldInstructions(of: info, operands)
        guard !kind.isDisjoint(with: translators.withheld) else { return nil }
        switch kind {
        case .timestamp: return cpu.privilege == 3 ? .protection : nil
        // With EM set, MMX and SSE do not exist (Intel SDM vol. 3, 2.5).
        case .sse where cpu.cr0 & 1 << 2 != 0: return .undefined
        default: return GuestException(vector: GuestException.deviceNotAvailable)
        }
    }
}
