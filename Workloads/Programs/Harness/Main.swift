import Support

@_cdecl("main")
func main(_ count: Int32, _ values: UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Int32 {
    var arguments = Arguments(count: count, values: values)
    if arguments.flag("--help") {
        printHelp(Program.self)
        return ExitCode.success
    }
    return run(Program.self, &arguments)
}

/// Runs every round of every phase, then reports. Nothing is written and no memory is allocated between a round's two
/// time stamps unless the workload itself does it.
private func run<W: Workload>(_: W.Type, _ arguments: inout Arguments) -> Int32 {
    let rounds = arguments.number("--rounds", default: W.defaultRounds, in: 1...1_000_000)
    arguments.rounds = rounds
    let isEndless = arguments.flag("--forever")
    let breaksCheck = arguments.flag("--break-check")
    var workload = W(&arguments)
    arguments.rejectUnused()
    if isEndless { repeatForever(&workload) }

    var measured: [Round] = []
    measured.reserveCapacity(Int(rounds) * workload.phases)
    var checksum = Checksum()
    var failure: Outcome?
    let marks = RoundMarks(workload)
    let clock = Clock()
    for phase in 0..<workload.phases {
        for round in 0..<rounds {
            workload.prepare(phase: phase)
            marks.begin(phase: phase)
            let begin = vb_tsc_begin()
            let operations = workload.run(phase: phase)
            let end = vb_tsc_end()
            marks.end(phase: phase)
            var outcome = workload.outcome(phase: phase)
            if breaksCheck, round == rounds - 1 { outcome.got ^= 1 }
            if outcome.got != outcome.expected, failure == nil { failure = outcome }
            checksum.mix(outcome.got)
            let cycles = workload.measuredCycles(phase: phase) ?? (end &- begin)
            measured.append(Round(phase: phase, cycles: cycles, operations: operations))
        }
    }
    let nanosecondsPerCycle = clock.nanosecondsPerCycle()
    workload.finish()

    let recordsFile = getenv("VBENCH_RECORDS")
    if let recordsFile {
        var records = Records()
        for round in measured {
            var name = Text()
            workload.appendName(ofPhase: round.phase, to: &name)
            records.appendRound(phase: name, cycles: round.cycles, operations: round.operations)
        }
        workload.appendValues(to: &records)
        records.appendCheck(failure)
        records.write(toFile: recordsFile)
    }
    var text = Text()
    text.append(W.name)
    text.append(": ")
    text.append(rounds)
    text.append(" rounds")
    if W.hasChecksum {
        text.append(", checksum ")
        text.append(hexadecimal: checksum.value)
    }
    text.append(failure == nil ? ", check ok\n" : ", check failed\n")
    if recordsFile == nil { appendTimes(measured, workload, nanosecondsPerCycle, to: &text) }
    guard text.write(to: STDOUT_FILENO) else { systemError("writing to standard output", Int64(vb_errno())) }
    if let failure {
        var message = Text()
        message.append(W.name)
        message.append(": wrong result: expected ")
        message.append(hexadecimal: failure.expected)
        message.append(", got ")
        message.append(hexadecimal: failure.got)
        message.append("\n")
        _ = message.write(to: STDERR_FILENO)
        return ExitCode.wrongResult
    }
    return ExitCode.success
}

private struct Round {
    var phase: Int
    var cycles: UInt64
    var operations: UInt64
}

/// An aggressor for co-location: works until it is killed, and ends only on a wrong result.
private func repeatForever<W: Workload>(_ workload: inout W) -> Never {
    while true {
        for phase in 0..<workload.phases {
            workload.prepare(phase: phase)
            vb_keep(workload.run(phase: phase))
            let outcome = workload.outcome(phase: phase)
            if outcome.got != outcome.expected { exit(ExitCode.wrongResult) }
        }
    }
}

private func appendTimes<W: Workload>(
    _ measured: [Round], _ workload: W, _ nanosecondsPerCycle: Double, to text: inout Text
) {
    for phase in 0..<workload.phases {
        var times: [Double] = []
        for round in measured where round.phase == phase && round.operations > 0 {
            times.append(Double(round.cycles) * nanosecondsPerCycle / Double(round.operations))
        }
        guard !times.isEmpty else { continue }
        times.sort()
        text.append("  ")
        workload.appendName(ofPhase: phase, to: &text)
        text.append(": ")
        text.append(decimal: times[times.count / 2])
        text.append(" ns per ")
        text.append(W.operation)
        text.append(" (median; fastest ")
        text.append(decimal: times[0])
        text.append(", slowest ")
        text.append(decimal: times[times.count - 1])
        text.append(")\n")
    }
}

private func printHelp<W: Workload>(_: W.Type) {
    var text = Text()
    text.append(W.name)
    text.append(": ")
    text.append(W.summary)
    text.append("\nOne operation: ")
    text.append(W.operation)
    text.append(".\n\nOptions (numbers take the suffixes K, M, G):\n")
    text.append(W.options)
    text.append("  --rounds N      timed rounds (default ")
    text.append(W.defaultRounds)
    text.append(")\n  --forever       work until killed, record nothing\n")
    text.append("\nExit code: 0 right result, 1 wrong result, 2 bad arguments, 3 refused by the system.\n")
    _ = text.write(to: STDOUT_FILENO)
}
