import CPU

typealias PipePointer = UnsafeMutablePointer<Pipe>

/// A pipe: 64 KiB in sixteen pages that come as they are needed and stay until it is closed.
struct Pipe {
    static let capacity: UInt64 = 65536
    /// Writes up to this many bytes go in as one piece (POSIX PIPE_BUF).
    static let atomicBytes: UInt64 = 4096

    var readers: UInt32
    var writers: UInt32
    /// Bytes read and written since the pipe was made.
    var readCount: UInt64
    var writeCount: UInt64
    private var pages: InlineArray<16, UInt32>

    static func make() -> PipePointer? {
        guard let pipe = kernelHeap.make(Pipe.self) else { return nil }
        pipe.pointee.readers = 1
        pipe.pointee.writers = 1
        return pipe
    }

    static func releaseIfUnused(_ pipe: PipePointer) {
        if pipe.pointee.readers != 0 || pipe.pointee.writers != 0 { return }
        for index in 0..<16 where pipe.pointee.pages[index] != 0 {
            physicalMemory.release(Frame(number: pipe.pointee.pages[index]))
        }
        kernelHeap.destroy(pipe)
    }

    @inline(__always)
    var available: UInt64 { writeCount &- readCount }
    @inline(__always)
    var space: UInt64 { Pipe.capacity &- available }

    /// Moves up to `bytes` out to user memory without waiting. Bytes moved, or a negative error number.
    mutating func take(_ address: UInt64, _ bytes: UInt64) -> Int {
        let wanted = bytes < available ? bytes : available
        var done: UInt64 = 0
        while done < wanted {
            let at = readCount & 4095
            let count = wanted &- done < pageBytes &- at ? wanted &- done : pageBytes &- at
            let page = Frame(number: pages[Int(readCount >> 12 & 15)])
            if !UserMemory.copyOut(address &+ done, page.raw + Int(at), count) {
                return done == 0 ? -EFAULT : Int(done)
            }
            readCount &+= count
            done &+= count
        }
        return Int(done)
    }

    /// Moves up to `bytes` in from user memory without waiting. Bytes moved, or a negative error number.
    mutating func put(_ address: UInt64, _ bytes: UInt64) -> Int {
        let wanted = bytes < space ? bytes : space
        var done: UInt64 = 0
        while done < wanted {
            let slot = Int(writeCount >> 12 & 15)
            if pages[slot] == 0 {
                guard let frame = physicalMemory.allocate() else { return done == 0 ? -ENOMEM : Int(done) }
                pages[slot] = frame.number
            }
            let at = writeCount & 4095
            let count = wanted &- done < pageBytes &- at ? wanted &- done : pageBytes &- at
            if !UserMemory.copyIn(Frame(number: pages[slot]).raw + Int(at), address &+ done, count) {
                return done == 0 ? -EFAULT : Int(done)
            }
            writeCount &+= count
            done &+= count
        }
        return Int(done)
    }

    // MARK: Waiting ends

    /// What a process that waits for this pipe (or, for all of them, poll) sleeps on.
    @inline(__always)
    static func channel(_ pipe: PipePointer) -> UInt64 { addressOf(pipe) }
    static let pollChannel: UInt64 = 1

    @inline(__always)
    static func changed(_ pipe: PipePointer) {
        if Scheduler.blockedCount == 0 { return }
        Scheduler.wake(channel(pipe))
        Scheduler.wake(pollChannel)
    }

    /// read(2): waits for the first byte.
    static func read(_ pipe: PipePointer, _ address: UInt64, _ bytes: UInt64, nonblocking: Bool) -> Int {
        if bytes == 0 { return 0 }
        while pipe.pointee.available == 0 {
            if pipe.pointee.writers == 0 { return 0 }
            if nonblocking { return -EAGAIN }
            if !Scheduler.sleep(on: channel(pipe)) { return -ERESTARTSYS }
        }
        let done = pipe.pointee.take(address, bytes)
        changed(pipe)
        return done
    }

    /// write(2): waits until all is in the pipe.
    static func write(_ pipe: PipePointer, _ address: UInt64, _ bytes: UInt64, nonblocking: Bool) -> Int {
        var done: UInt64 = 0
        while done < bytes {
            if pipe.pointee.readers == 0 {
                if done == 0 {
                    let process = Scheduler.currentProcess
                    Signals.send(SIGPIPE, to: process, .sent(by: process))
                }
                return done == 0 ? -EPIPE : Int(done)
            }
            let left = bytes &- done
            let needed = bytes <= atomicBytes ? left : 1
            if pipe.pointee.space < needed {
                if nonblocking { return done == 0 ? -EAGAIN : Int(done) }
                if !Scheduler.sleep(on: channel(pipe)) { return done == 0 ? -ERESTARTSYS : Int(done) }
                continue
            }
            let moved = pipe.pointee.put(address &+ done, left)
            if moved < 0 { return done == 0 ? moved : Int(done) }
            done &+= UInt64(moved)
            changed(pipe)
        }
        return Int(done)
    }
}
