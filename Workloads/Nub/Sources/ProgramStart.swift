import CPU

/// Replaces the program of `process` (the current one, or the first one before it runs). On success its frame is ready
/// for ring 3 and its new address space is loaded; on failure nothing has changed.
func startProgram(
    _ process: ProcessPointer, _ node: NodePointer, path: UnsafePointer<UInt8>, pathLength: Int,
    arguments: StringVector, environment: StringVector
) -> LoadFailure? {
    let exhausted = LoadFailure(message: "not enough memory to start the program", error: -ENOMEM)
    guard node.pointee.kind == .file else { return LoadFailure(message: "not a regular file", error: -EACCES) }
    guard node.pointee.mode & 0o111 != 0 else { return LoadFailure(message: "not executable", error: -EACCES) }
    guard let space = AddressSpace.make() else { return exhausted }
    var program = LoadedProgram()
    if let failure = ELFLoader.load(node, into: space, &program) {
        AddressSpace.release(space)
        return failure
    }
    var stack = InitialStack()
    let error = stack.build(
        program, path: path, pathLength: pathLength, arguments: arguments, environment: environment)
    if error != 0 || !stack.install(in: space) {
        stack.release()
        AddressSpace.release(space)
        if error == -E2BIG { return LoadFailure(message: "arguments and environment are too long", error: error) }
        return error == 0 || error == -ENOMEM
            ? exhausted : LoadFailure(message: "unreadable arguments", error: error)
    }

    // From here on there is no way back.
    node.pointee.references &+= 1
    if let old = process.pointee.executable { Node.release(old) }
    process.pointee.executable = node
    fpu.forget(process)
    let old = process.pointee.space
    process.pointee.space = space
    Scheduler.load(space.pointee.root)
    if let old { AddressSpace.release(old) }
    releaseVforkParent(process)
    Process.closeFiles(process, mask: process.pointee.closeOnExec)
    if let actions = process.pointee.signalActions {
        for index in 0..<64 where actions[index].handler != SignalAction.ignoreHandler {
            actions[index] = SignalAction()
        }
    }
    process.pointee.alternateStackBytes = 0
    process.pointee.clearChildThread = 0
    FPUState.initialize(process.pointee.fpuArea)

    let frame = process.pointee.frame
    frame.pointee = TrapFrame()
    frame.pointee.rip = program.start
    frame.pointee.rsp = stack.pointer
    frame.pointee.cs = 0x33
    frame.pointee.ss = 0x2B
    frame.pointee.rflags = 0x202
    process.pointee.fsBase = 0
    process.pointee.gsBase = 0
    return nil
}
