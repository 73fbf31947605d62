import CLinux
import Glibc
import Host
import Machine

/// The machine's timers on the host's: kicks when something is due, sleep while the guest is halted.
extension SoftwareMachine {
    func monotonic() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }

    /// Has the thread kicked when the APIC timer or the time limit is due.
    func armKick() {
        timerChanged = false
        let deadline = min(cpu.timerDeadline ?? .max, limitTSC)
        guard deadline != armedDeadline else { return }
        armedDeadline = deadline
        let now = TimestampCounter.now()
        let ticks = deadline > now ? deadline - now : 0
        let nanoseconds = min(Double(ticks) * 1e9 / Double(tscHertz), 4e18)
        vb_sw_arm_kick(monotonic() &+ UInt64(nanoseconds) &+ 1)
    }

    /// HLT: sleeps until an interrupt can be delivered.
    func waitForInterrupt() throws(MachineStop) {
        halted = false
        cpu.interruptShadow = false
        let begin = TimestampCounter.now()
        while true {
            let now = TimestampCounter.now()
            guard now < limitTSC else { throw MachineStop(.timeout) }
            cpu.pollTimers(now: now)
            timerChanged = true
            if cpu.interruptsEnabled, cpu.hasDeliverableInterrupt { break }
            guard cpu.interruptsEnabled, let deadline = cpu.timerDeadline else {
                throw MachineStop(.halted)
            }
            let wake = min(deadline, limitTSC)
            if wake > now {
                let nanoseconds = Double(wake - now) * 1e9 / Double(tscHertz)
                var span = timespec(
                    tv_sec: Int(nanoseconds / 1e9),
                    tv_nsec: Int(nanoseconds.truncatingRemainder(dividingBy: 1e9)))
                clock_nanosleep(CLOCK_MONOTONIC, 0, &span, nil)
            }
        }
        haltedTicks &+= TimestampCounter.now() &- begin
    }
}
