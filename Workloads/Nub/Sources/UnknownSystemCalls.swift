import CPU

/// Calls of numbers that Nub does not implement, for the report.
enum UnknownSystemCalls {
    /// Calls of numbers beyond every table.
    nonisolated(unsafe) static var outOfRange: UInt64 = 0
}

/// From entry.S.
@c(systemCallUnknown)
func systemCallUnknown(_ number: UInt64) -> Int {
    if number < UInt64(KERNEL_SYSTEM_CALLS) {
        kernel_unknown_counts()[Int(number)] &+= 1
    } else {
        UnknownSystemCalls.outOfRange &+= 1
    }
    return -ENOSYS
}
