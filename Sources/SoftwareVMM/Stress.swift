import CLinux
import Machine

/// Makes what is rare frequent, for tests: kicks at any instruction, evictions, lost shadows and unlinked blocks, as a seed has it.
/// None of them may show in what the guest does.
struct Stress {
    /// Disturbances so far.
    var events: UInt64 = 0
    private var random: SplitMix64

    init(seed: UInt64) { random = SplitMix64(state: seed) }

    mutating func oneIn(_ count: UInt64) -> Bool { random.next() % count == 0 }
    mutating func below(_ bound: UInt64) -> UInt64 { random.next() % bound }

    /// Half of the direct branches stay unlinked for another round, so that blocks often end in an exit.
    mutating func leavesUnlinked() -> Bool { oneIn(2) }
}

extension SoftwareMachine {
    private static let longestKickNanoseconds: UInt64 = 50_000

    /// After an exit, when the guest's state is known and no host code is in use.
    func disturb() {
        guard stress != nil, !resumesTranslation, !stepsOverCodeWrite else { return }
        if stress!.oneIn(256) {
            stress!.events &+= 1
            cache.flush()
        }
        if stress!.oneIn(256) {
            stress!.events &+= 1
            shadow.dropAll()
        }
        if stress!.oneIn(8) {
            stress!.events &+= 1
            // The timer's own deadline is armed again when this kick has come.
            vb_sw_arm_kick(monotonic() &+ stress!.below(Self.longestKickNanoseconds))
            armedDeadline = 0
        }
    }
}
