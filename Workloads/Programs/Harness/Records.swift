import Support

/// The records of a run, kept in memory and written after the last round, so that no write falls into a timed region.
/// Syntax: Workloads/README.md.
struct Records {
    private var text = Text()

    mutating func appendRound(phase: Text, cycles: UInt64, operations: UInt64) {
        text.append("round phase=")
        text.append(phase)
        text.append(" cycles=")
        text.append(cycles)
        text.append(" operations=")
        text.append(operations)
        text.append("\n")
    }

    mutating func appendValue(_ name: StaticString, _ number: UInt64) {
        text.append("value name=")
        text.append(name)
        text.append(" number=")
        text.append(number)
        text.append("\n")
    }

    /// A figure that cannot be taken here, and why.
    mutating func appendUnavailable(_ name: StaticString, _ reason: StaticString) {
        text.append("unavailable name=")
        text.append(name)
        text.append(" reason=")
        text.append(reason)
        text.append("\n")
    }

    mutating func appendCheck(_ failure: Outcome?) {
        if let failure {
            text.append("check failed expected=")
            text.append(hexadecimal: failure.expected)
            text.append(" got=")
            text.append(hexadecimal: failure.got)
            text.append("\n")
        } else {
            text.append("check ok\n")
        }
    }

    /// Writes everything to the file at `path`, which is created if need be and never truncated.
    mutating func write(toFile path: UnsafePointer<CChar>) {
        let descriptor = vb_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { systemError("opening the file named by VBENCH_RECORDS", Int64(vb_errno())) }
        guard text.write(to: descriptor) else { systemError("writing records", Int64(vb_errno())) }
        close(descriptor)
    }
}
