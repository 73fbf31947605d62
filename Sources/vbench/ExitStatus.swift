import ArgumentParser

/// Exit codes of `vbench` (README, "Exit codes"). `exec` and `compare` have conventions of their own.
enum ExitStatus {
    /// A run ended, but some of its trials failed (or `compare` found a regression).
    static let someFailed = ExitCode(1)
    /// `compare`: wrong usage or an unreadable report.
    static let compareUnusable = ExitCode(2)
    /// `compare`: too noisy to decide.
    static let undecided = ExitCode(3)
    /// Wrong usage (sysexits.h EX_USAGE, what ArgumentParser uses).
    static let usage = ExitCode(64)
    /// The suite has problems (EX_DATAERR).
    static let invalidSuite = ExitCode(65)
    /// The suite cannot be read (EX_NOINPUT).
    static let noInput = ExitCode(66)
    /// A backend that was required is not available (EX_UNAVAILABLE).
    static let unavailable = ExitCode(69)
    /// A fault of vbench itself (EX_SOFTWARE).
    static let internalError = ExitCode(70)
    /// The output folder cannot be created or written to (EX_CANTCREAT).
    static let cannotCreate = ExitCode(73)
    /// Writing a result failed, for example on a full disk (EX_IOERR).
    static let writeFailed = ExitCode(74)

    /// `exec`: the time limit was reached (as timeout(1)).
    static let execTimeout = ExitCode(124)
    /// `exec`: the machine failed, not the program: backend unavailable, guest panic, VMM failure.
    static let execMachineFailed = ExitCode(125)
    /// `exec`: the program cannot be run (as env(1)).
    static let execCannotRun = ExitCode(126)
    /// `exec`: no such program (as env(1)).
    static let execNotFound = ExitCode(127)

    /// Ended by a signal: 128 + its number, 130 for Ctrl-C.
    static func signal(_ number: Int32) -> ExitCode { ExitCode(128 + number) }
}
