import Support

/// Exit codes of every program.
enum ExitCode {
    static let success: Int32 = 0
    /// The program's own check found a wrong result.
    static let wrongResult: Int32 = 1
    /// The arguments cannot be used.
    static let usage: Int32 = 2
    /// The system refused something the workload needs.
    static let systemError: Int32 = 3
}

/// Says on standard error why the arguments cannot be used, and ends the program.
func usageError(_ message: Text) -> Never {
    end(message, code: ExitCode.usage)
}

/// Says on standard error that the system refused `action` with `code` (an errno value), and ends the program.
func systemError(_ action: StaticString, _ code: Int64) -> Never {
    var message = Text()
    message.append(action)
    systemError(message, code)
}

/// The same with an action put together at run time.
func systemError(_ action: Text, _ code: Int64) -> Never {
    var message = action
    message.append(" failed with errno ")
    message.append(UInt64(code.magnitude))
    end(message, code: ExitCode.systemError)
}

private func end(_ message: Text, code: Int32) -> Never {
    var line = Text()
    line.append(Program.name)
    line.append(": ")
    line.append(message)
    line.append("\n")
    _ = line.write(to: STDERR_FILENO)
    exit(code)
}
