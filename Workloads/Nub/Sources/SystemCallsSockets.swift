import CPU

/// Calls on sockets, of which there are none: every open file is something else. `socket` itself is not offered.
@c(systemCallOnSocket)
func systemCallOnSocket(_ descriptor: Int32) -> Int {
    Scheduler.currentProcess.pointee.file(Int(descriptor)) == nil ? -EBADF : -ENOTSOCK
}
