import CLinux
import Translator

/// The translators of a machine: one for each ring, each once more for blocks of one instruction, and one for ring 0 while the
/// guest single-steps it.
final class Translators {
    private let supervisor: Translator
    private let user: Translator
    private let supervisorStep: Translator
    private let userStep: Translator
    let supervisorTrap: Translator

    init(map: AddressMap) {
        // LOOP is quick on AMD's CPUs only (and those of Hygon, which are theirs).
        let vendor = clinux_cpuid(0, 0).ebx
        let verifiesByLoop = vendor == 0x6874_7541 || vendor == 0x6F67_7948
        func make(_ privilege: TranslationOptions.Privilege, _ limit: Int) -> Translator {
            Translator(
                layout: Self.layout(privilege),
                options: TranslationOptions(
                    privilege: privilege, windowBase: map.window, instructionLimit: limit,
                    verifiesByLoop: verifiesByLoop))
        }
        supervisor = make(.supervisor, 64)
        user = make(.user, 64)
        supervisorStep = make(.supervisor, 1)
        userStep = make(.user, 1)
        supervisorTrap = Translator(
            layout: Self.layout(.supervisor),
            options: TranslationOptions(
                privilege: .supervisor, windowBase: map.window, instructionLimit: 1, alwaysExits: true,
                verifiesByLoop: verifiesByLoop))
    }

    /// Instructions that the guest wants to fault; RDTSC only in ring 3.
    var withheld: WithheldInstructions = [] {
        didSet {
            for translator in [user, userStep] { translator.options.withheld = withheld }
            for translator in [supervisor, supervisorStep, supervisorTrap] {
                translator.options.withheld = withheld.subtracting(.timestamp)
            }
        }
    }

    func translator(for ring: TranslationOptions.Privilege, single: Bool) -> Translator {
        switch ring {
        case .supervisor: single ? supervisorStep : supervisor
        case .user: single ? userStep : user
        }
    }

    private static func layout(_ privilege: TranslationOptions.Privilege) -> VCPULayout {
        let isUser = privilege == .user
        return VCPULayout(
            instructionPointer: VB_SW_RIP, spillSlots: VB_SW_SPILL, exitKind: VB_SW_EXIT_KIND,
            exitIdentifier: VB_SW_EXIT_ID, exitStub: VB_SW_EXIT_STUB,
            missStub: isUser ? VB_SW_USER_MISS_STUB : VB_SW_MISS_STUB, guestFSBase: VB_SW_GUEST_FS,
            guestGSBase: VB_SW_GUEST_GS, virtualInterruptFlag: VB_SW_VIF,
            indirectTable: isUser ? VB_SW_USER_TABLE : VB_SW_TABLE, chainExit: VB_SW_EXIT_CHAIN,
            emulateExit: VB_SW_EXIT_EMULATE, systemCallStub: VB_SW_SYSCALL_STUB,
            systemReturnStub: VB_SW_SYSRET_STUB, interruptReturnStub: VB_SW_IRET_STUB, returnFrame: VB_SW_FRAME,
            descriptorTableBase: VB_SW_GDT_BASE, portReadStub: VB_SW_IN_STUB, pageFaultAddress: VB_SW_CR2)
    }
}
