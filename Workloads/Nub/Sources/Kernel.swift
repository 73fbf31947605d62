import CPU

/// Boot, from boot.S: on the boot stack, in the high half, with boot.S's page tables.
///
/// `information` is the physical address of a BootInfo, or of hvm_start_info when `isPVH` is not 0.
@c(kernelMain)
func kernelMain(_ information: UInt64, _ isPVH: UInt32) {
    let address = PhysicalAddress(information)
    if isPVH != 0 {
        SerialPort.start()
        LocalAPIC.maskLegacyInterrupts()
    }
    let known = isPVH != 0 ? bootInformation.read(startInfo: address) : bootInformation.read(bootInfo: address)
    if !known { stop(DebugExitCode.panic) }
    mailbox.start(
        at: PhysicalAddress(bootInformation.mailboxAddress), bytes: bootInformation.mailboxBytes,
        doorbell: bootInformation.doorbell)
    mailbox.phase(BootPhase.kernelEntry)

    DescriptorTables.start(quirks: bootInformation.quirks)
    KernelPageTables.protectImage()
    processor.start()
    fpu.start(quirks: bootInformation.quirks)
    clock.start(
        hertz: bootInformation.tscHertz, bootTSC: bootInformation.bootTSC,
        wallNanoseconds: bootInformation.wallClockNanoseconds)
    RandomNumbers.seed(bootInformation.randomSeed0, bootInformation.randomSeed1)
    startMemory()

    let initrd = PhysicalAddress(bootInformation.initrdAddress)
    guard fileTree.start(),
        bootInformation.initrdBytes == 0
            || BootArchive.unpack(at: initrd.linear, bytes: bootInformation.initrdBytes),
        BootArchive.addDevices()
    else { refuse("cannot build the file tree") }
    LocalAPIC.start(timerHertz: bootInformation.apicTimerHertz)
    TimerInterrupts.start()
    mailbox.phase(BootPhase.kernelReady)
    if bootInformation.commandLineStarts(with: "nub.panic") { panicOnPurpose() }
    startJob()
}

/// The command line's first word `nub.panic` asks for a fault in ring 0: a test of the panic and of the host's handling.
private func panicOnPurpose() {
    rawPointer(Layout.userEnd &+ 0x1234).storeBytes(of: 1, as: UInt8.self)
}

private func startMemory() {
    var reserved = ReservedRanges()
    // Boot structures and real-mode leftovers lie below the kernel.
    reserved.add(0, BootLayout.kernel)
    reserved.add(BootLayout.kernel, KernelPageTables.physicalAddress(ofImage: kernel_end_address()).rawValue)
    reserved.add(bootInformation.initrdAddress, bootInformation.initrdAddress &+ bootInformation.initrdBytes)
    reserved.add(bootInformation.mailboxAddress, bootInformation.mailboxAddress &+ bootInformation.mailboxBytes)
    physicalMemory.addRAM(0, bootInformation.lowMemoryEnd, reserved: reserved)
    if bootInformation.highMemoryEnd != 0 {
        physicalMemory.addRAM(BootLayout.highMemory, bootInformation.highMemoryEnd, reserved: reserved)
    }
    guard physicalMemory.start(highest: bootInformation.memoryEnd),
        KernelPageTables.mapHighMemory(end: bootInformation.highMemoryEnd)
    else { refuse("not enough memory for the kernel") }
}

/// Ends the machine without having run a program.
func refuse(_ message: StaticString) -> Never {
    kernelLog.text("cannot start: ")
    kernelLog.text(message)
    kernelLog.end()
    mailbox.ring()
    stop(DebugExitCode.cannotStart)
}

nonisolated(unsafe) private var startTSC: UInt64 = 0

private func startJob() -> Never {
    guard let job = JobDescription.read() else { refuse("no job file and no words after -- on the command line") }
    let directory = fileTree.look(
        up: job.workingDirectory, job.workingDirectoryLength, from: fileTree.root)
    guard let workingDirectory = directory.node, workingDirectory.pointee.kind == .directory else {
        refuse("the working directory does not exist")
    }
    guard let process = Process.make(identifier: Scheduler.newIdentifier(), workingDirectory: workingDirectory) else {
        refuse("not enough memory for a process")
    }
    Scheduler.add(process)
    Scheduler.setCurrent(process)
    openStandardFiles(process)

    let place = fileTree.look(up: job.program, job.programLength, from: workingDirectory)
    let failure: LoadFailure?
    if let node = place.node {
        failure = startProgram(
            process, node, path: job.program, pathLength: job.programLength, arguments: job.arguments,
            environment: job.environment)
    } else {
        failure = LoadFailure(message: "not found in the guest's file tree", error: place.error)
    }
    if let failure {
        kernelLog.text("cannot start ")
        kernelLog.bytes(job.program, job.programLength < 512 ? job.programLength : 512)
        kernelLog.text(": ")
        kernelLog.text(failure.message)
        kernelLog.end()
        mailbox.ring()
        stop(DebugExitCode.cannotStart)
    }
    mailbox.phase(BootPhase.programStart)
    startTSC = cpu_rdtsc()
    Scheduler.startFirst(process)
}

private func openStandardFiles(_ process: ProcessPointer) {
    let input = fileTree.node(Job.standardInputPath) ?? fileTree.node("/dev/null")
    guard let input, let inputFile = OpenFile.make(input, flags: 0),
        let output = OpenFile.makeConsole(stream: 1), let errors = OpenFile.makeConsole(stream: 2)
    else { refuse("not enough memory for the standard files") }
    process.pointee.put(inputFile, at: 0, closeOnExec: false)
    process.pointee.put(output, at: 1, closeOnExec: false)
    process.pointee.put(errors, at: 2, closeOnExec: false)
}

/// The first process has ended: reports everything and stops the machine.
func endMachine(status: Int32) -> Never {
    let endTSC = cpu_rdtsc()
    let counts = kernel_unknown_counts().unsafelyUnwrapped
    for number in 0..<Int(KERNEL_SYSTEM_CALLS) where counts[number] != 0 {
        var record = SystemCallCountRecord()
        record.number = UInt32(number)
        record.count = UInt64(counts[number])
        mailbox.append(MailboxRecordKind.unknownSystemCall, record)
        if !mailbox.hasHost {
            kernelLog.text("system call ")
            kernelLog.decimal(UInt64(number))
            kernelLog.text(" is not implemented; calls: ")
            kernelLog.decimal(record.count)
            kernelLog.end()
        }
    }
    if UnknownSystemCalls.outOfRange != 0 {
        var record = SystemCallCountRecord()
        record.number = .max
        record.count = UnknownSystemCalls.outOfRange
        mailbox.append(MailboxRecordKind.unknownSystemCall, record)
    }
    var record = ProgramExitRecord()
    record.status = status
    record.startTSC = startTSC
    record.endTSC = endTSC
    record.systemCalls = cpu_block.systemCalls
    record.pageFaults = statistics.pageFaults
    record.copyOnWriteFaults = statistics.copyOnWriteFaults
    record.contextSwitches = statistics.contextSwitches
    record.timerTicks = statistics.timerTicks
    record.processes = statistics.processes
    record.peakMemoryBytes = physicalMemory.peakFrames &* pageBytes
    mailbox.append(MailboxRecordKind.programExit, record)
    if !mailbox.hasHost {
        kernelLog.text("program ended, status ")
        kernelLog.hexadecimal(UInt64(UInt32(bitPattern: status)))
        kernelLog.end()
    }
    mailbox.ring()
    stop(DebugExitCode.done)
}
