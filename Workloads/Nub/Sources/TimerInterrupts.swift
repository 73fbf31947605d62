import CPU

/// When the local APIC's timer interrupts: once, at the scheduler's next tick or at the end of the next wait, whichever is
/// earlier. While the machine is idle there are no ticks between the ends of waits.
///
/// Times are `clock.monotonicNanoseconds`.
enum TimerInterrupts {
    static let tickNanoseconds: UInt64 = 10_000_000
    static let never: UInt64 = .max

    /// What the timer is set to; `never` from its interrupt until it is set again.
    nonisolated(unsafe) private static var armed = never
    nonisolated(unsafe) private static var nextTick: UInt64 = 0
    /// At or before the end of every wait and every alarm: a wait that something else ended leaves its time here.
    nonisolated(unsafe) private static var earliestWait = never

    /// From boot on.
    static func start() {
        nextTick = clock.monotonicNanoseconds &+ tickNanoseconds
        set(nextTick)
    }

    /// A wait or an alarm that ends at `time` has begun.
    static func note(_ time: UInt64) {
        if time < earliestWait { earliestWait = time }
        if time < armed { set(time) }
    }

    /// Nothing is runnable: the next interrupt is the end of a wait, if one has an end.
    static func armForIdle() {
        let time = earliestWait != never ? earliestWait : nextTick
        if time != armed { set(time) }
    }

    /// Vector 32: whether the slice of whoever runs is over. `fromUser` is false when the interrupt ended the idle wait.
    static func handle(fromUser: Bool) -> Bool {
        statistics.timerTicks &+= 1
        armed = never
        let now = clock.monotonicNanoseconds
        let isTick = now >= nextTick
        if isTick {
            nextTick = now &+ tickNanoseconds
            if mailbox.hasUnflushedOutput { mailbox.ring() }
        }
        var isWaitOver = false
        if now >= earliestWait {
            let blocked = Scheduler.wakeTimed(now)
            let alarms = Signals.raiseAlarms(now)
            earliestWait = blocked < alarms ? blocked : alarms
            isWaitOver = true
        }
        // The idle loop arms for itself.
        if fromUser || Scheduler.hasRunnable { set(nextTick < earliestWait ? nextTick : earliestWait) }
        return isTick || isWaitOver
    }

    /// Someone else has had the timer.
    static func resume() { set(nextTick < earliestWait ? nextTick : earliestWait) }

    private static func set(_ time: UInt64) {
        armed = time
        let now = clock.monotonicNanoseconds
        LocalAPIC.interrupt(afterNanoseconds: time > now ? time &- now : 0)
    }
}

/// Vector 32, from entry.S. `fromUser` is the ring that was interrupted.
@c(timerInterrupt)
func timerInterrupt(_ fromUser: UInt64) {
    LocalAPIC.endOfInterrupt()
    let isOver = TimerInterrupts.handle(fromUser: fromUser != 0)
    // A ring-3 stub is not interrupted.
    if isOver && fromUser != 0 && cpu_block.stubStackPointer == 0 { Scheduler.yield() }
}
