import Glibc

/// Host time that no clock adjustment bends.
public enum MonotonicClock {
    /// CLOCK_MONOTONIC_RAW in nanoseconds. A double keeps single nanoseconds for the first 104 days after boot.
    public static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC_RAW, &time)
        return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
    }
}
