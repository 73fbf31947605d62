import CPU

// Time, limits and facts about the machine.

/// struct timespec (nanoseconds) or timeval (microseconds).
struct TimeValue {
    var seconds: Int64 = 0
    var fraction: Int64 = 0

    init() {}

    init(nanoseconds: UInt64, unit: UInt64 = 1) {
        seconds = Int64(truncatingIfNeeded: nanoseconds / 1_000_000_000)
        fraction = Int64(truncatingIfNeeded: nanoseconds % 1_000_000_000 / unit)
    }

    /// The span in nanoseconds, `fraction` counting `unit` of them; nil when it is not a legal time.
    func nanoseconds(unit: Int64) -> UInt64? {
        guard seconds >= 0, fraction >= 0, fraction < 1_000_000_000 / unit else { return nil }
        // 100 years are for ever.
        let bounded = seconds < 3_200_000_000 ? seconds : 3_200_000_000
        return UInt64(bounded &* 1_000_000_000 &+ fraction &* unit)
    }
}

/// Time of a CLOCK_… number, or nil.
private func time(ofClock identifier: UInt32) -> UInt64? {
    switch identifier {
    case 0, 5: return clock.wallNanoseconds  // REALTIME, REALTIME_COARSE
    case 1, 2, 3, 4, 6, 7: return clock.monotonicNanoseconds  // MONOTONIC…, CPU times of the only thread, BOOTTIME
    default: return nil
    }
}

@c(systemCallClockGettime)
func systemCallClockGettime(_ identifier: UInt32, _ result: UInt64) -> Int {
    guard let now = time(ofClock: identifier) else { return -EINVAL }
    return UserMemory.store(TimeValue(nanoseconds: now), at: result) ? 0 : -EFAULT
}

@c(systemCallClockGetres)
func systemCallClockGetres(_ identifier: UInt32, _ result: UInt64) -> Int {
    if time(ofClock: identifier) == nil { return -EINVAL }
    return result == 0 || UserMemory.store(TimeValue(nanoseconds: 1), at: result) ? 0 : -EFAULT
}

@c(systemCallGettimeofday)
func systemCallGettimeofday(_ result: UInt64, _ zone: UInt64) -> Int {
    let now = TimeValue(nanoseconds: clock.wallNanoseconds, unit: 1000)
    if result != 0 && !UserMemory.store(now, at: result) { return -EFAULT }
    return zone == 0 || UserMemory.store(UInt64(0), at: zone) ? 0 : -EFAULT
}

@c(systemCallTime)
func systemCallTime(_ result: UInt64) -> Int {
    let seconds = clock.wallNanoseconds / 1_000_000_000
    if result != 0 && !UserMemory.store(seconds, at: result) { return -EFAULT }
    return Int(seconds)
}

private func sleepUntil(_ end: UInt64, _ remaining: UInt64) -> Int {
    while clock.monotonicNanoseconds < end {
        if !Scheduler.sleep(on: 3, until: end) {
            let now = clock.monotonicNanoseconds
            let left = TimeValue(nanoseconds: end > now ? end &- now : 0)
            if remaining != 0 && !UserMemory.store(left, at: remaining) { return -EFAULT }
            return -EINTR
        }
    }
    return 0
}

@c(systemCallNanosleep)
func systemCallNanosleep(_ request: UInt64, _ remaining: UInt64) -> Int {
    var span = TimeValue()
    if !UserMemory.load(&span, from: request) { return -EFAULT }
    guard let nanoseconds = span.nanoseconds(unit: 1) else { return -EINVAL }
    return sleepUntil(clock.monotonicNanoseconds &+ nanoseconds, remaining)
}

@c(systemCallClockNanosleep)
func systemCallClockNanosleep(_ identifier: UInt32, _ flags: UInt32, _ request: UInt64, _ remaining: UInt64) -> Int {
    var span = TimeValue()
    if !UserMemory.load(&span, from: request) { return -EFAULT }
    guard let now = time(ofClock: identifier), let nanoseconds = span.nanoseconds(unit: 1) else { return -EINVAL }
    if flags & 1 == 0 { return sleepUntil(clock.monotonicNanoseconds &+ nanoseconds, remaining) }
    if nanoseconds <= now { return 0 }
    return sleepUntil(clock.monotonicNanoseconds &+ (nanoseconds &- now), 0)
}

// MARK: Alarms

/// Sets the alarm of the current process; what was left of the old one, in nanoseconds.
private func setAlarm(_ value: UInt64, _ interval: UInt64) -> UInt64 {
    let process = Scheduler.currentProcess
    let now = clock.monotonicNanoseconds
    let old = process.pointee.alarmTime
    process.pointee.alarmTime = value == 0 ? 0 : now &+ value
    process.pointee.alarmInterval = interval
    if value != 0 { TimerInterrupts.note(now &+ value) }
    return old > now ? old &- now : 0
}

@c(systemCallAlarm)
func systemCallAlarm(_ seconds: UInt32) -> Int {
    Int((setAlarm(UInt64(seconds) &* 1_000_000_000, 0) &+ 999_999_999) / 1_000_000_000)
}

/// ITIMER_REAL only: the others count CPU time, which Nub does not.
@c(systemCallSetitimer)
func systemCallSetitimer(_ which: UInt32, _ new: UInt64, _ old: UInt64) -> Int {
    if which != 0 { return -EINVAL }
    var value = (TimeValue(), TimeValue())
    if !UserMemory.load(&value, from: new) { return -EFAULT }
    guard let interval = value.0.nanoseconds(unit: 1000), let first = value.1.nanoseconds(unit: 1000) else {
        return -EINVAL
    }
    let oldInterval = Scheduler.currentProcess.pointee.alarmInterval
    let left = setAlarm(first, interval)
    return old == 0 || storeTimer(left, oldInterval, old) ? 0 : -EFAULT
}

@c(systemCallGetitimer)
func systemCallGetitimer(_ which: UInt32, _ result: UInt64) -> Int {
    if which != 0 { return -EINVAL }
    let process = Scheduler.currentProcess
    let now = clock.monotonicNanoseconds
    let left = process.pointee.alarmTime > now ? process.pointee.alarmTime &- now : 0
    return storeTimer(left, process.pointee.alarmInterval, result) ? 0 : -EFAULT
}

private func storeTimer(_ left: UInt64, _ interval: UInt64, _ address: UInt64) -> Bool {
    let value = (TimeValue(nanoseconds: interval, unit: 1000), TimeValue(nanoseconds: left, unit: 1000))
    return UserMemory.store(value, at: address)
}

// MARK: Limits and usage

private let unlimited: UInt64 = .max

@c(systemCallPrlimit64)
func systemCallPrlimit64(_ identifier: Int32, _ resource: UInt32, _ new: UInt64, _ old: UInt64) -> Int {
    if identifier != 0 && Scheduler.process(identifier) == nil { return -ESRCH }
    if resource > 15 { return -EINVAL }
    var limit = (unlimited, unlimited)
    if new != 0 && !UserMemory.load(&limit, from: new) { return -EFAULT }
    if old == 0 { return 0 }
    switch resource {
    case 3: limit = (Layout.stackBytes, Layout.stackBytes)
    case 4: limit = (0, 0)  // core files
    case 7: limit = (UInt64(Process.maximumFiles), UInt64(Process.maximumFiles))
    default: limit = (unlimited, unlimited)
    }
    return UserMemory.store(limit, at: old) ? 0 : -EFAULT
}

@c(systemCallGetrlimit)
func systemCallGetrlimit(_ resource: UInt32, _ old: UInt64) -> Int { systemCallPrlimit64(0, resource, 0, old) }

@c(systemCallSetrlimit)
func systemCallSetrlimit(_ resource: UInt32, _ new: UInt64) -> Int { systemCallPrlimit64(0, resource, new, 0) }

/// Of all usage only the caller's own page faults are accounted; the rest is zero.
@c(systemCallGetrusage)
func systemCallGetrusage(_ who: Int32, _ usage: UInt64) -> Int {
    // RUSAGE_CHILDREN, RUSAGE_SELF, RUSAGE_THREAD.
    if who < -1 || who > 1 { return -EINVAL }
    // struct rusage, 144 bytes: ru_minflt is its ninth word.
    var words = InlineArray<18, UInt64>(repeating: 0)
    if who >= 0 { words[8] = Scheduler.pageFaultsOfCurrent }
    return UserMemory.store(words, at: usage) ? 0 : -EFAULT
}

/// Times in ticks of 10 ms since boot; CPU times by process are not accounted.
@c(systemCallTimes)
func systemCallTimes(_ result: UInt64) -> Int {
    if result != 0 && !UserMemory.zero(result, 32) { return -EFAULT }
    return Int(clock.monotonicNanoseconds / 10_000_000)
}

@c(systemCallSysinfo)
func systemCallSysinfo(_ result: UInt64) -> Int {
    // struct sysinfo, 112 bytes: uptime, loads[3], totalram, freeram, …, procs, …, mem_unit.
    var words = InlineArray<14, UInt64>(repeating: 0)
    words[0] = clock.monotonicNanoseconds / 1_000_000_000
    words[4] = physicalMemory.totalFrames &* pageBytes
    words[5] = physicalMemory.freeFrames &* pageBytes
    var processes: UInt64 = 0
    var candidate = Scheduler.firstOfAll
    while let process = candidate {
        processes &+= 1
        candidate = process.pointee.nextOfAll
    }
    words[10] = processes & 0xFFFF
    words[13] = 1
    return UserMemory.store(words, at: result) ? 0 : -EFAULT
}

/// struct utsname: six fields of 65 bytes. The release is one that glibc's minimum-version check accepts.
@c(systemCallUname)
func systemCallUname(_ result: UInt64) -> Int {
    if !UserMemory.zero(result, 6 * 65) { return -EFAULT }
    return storeText("Linux", result) && storeText("nub", result &+ 65) && storeText("6.1.0-nub", result &+ 130)
        && storeText("#1 Nub", result &+ 195) && storeText("x86_64", result &+ 260)
        && storeText("(none)", result &+ 325) ? 0 : -EFAULT
}

private func storeText(_ text: StaticString, _ address: UInt64) -> Bool {
    UserMemory.copyOut(address, text.utf8Start, UInt64(text.utf8CodeUnitCount))
}

@c(systemCallGetrandom)
func systemCallGetrandom(_ buffer: UInt64, _ bytes: UInt64, _ flags: UInt32) -> Int {
    if !UserMemory.isValid(buffer, bytes) { return -EFAULT }
    return RandomNumbers.fill(buffer, bytes < 1 << 25 ? bytes : 1 << 25)
}
