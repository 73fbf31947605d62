import CPU

/// What an open file refers to.
enum OpenFileKind: UInt8 {
    case node
    case pipeReader
    case pipeWriter
    /// The program's terminal: standard output or standard error by `stream`.
    case console
}

typealias OpenFilePointer = UnsafeMutablePointer<OpenFile>

/// open(2) flags, asm-generic/fcntl.h.
enum OpenFlags {
    static let accessMode: UInt32 = 3
    static let writeOnly: UInt32 = 1
    static let readWrite: UInt32 = 2
    static let create: UInt32 = 0o100
    static let exclusive: UInt32 = 0o200
    static let truncate: UInt32 = 0o1000
    static let append: UInt32 = 0o2000
    static let nonblocking: UInt32 = 0o4000
    static let directory: UInt32 = 0o200000
    static let noFollow: UInt32 = 0o400000
    static let closeOnExec: UInt32 = 0o2000000
    static let path: UInt32 = 0o10000000
}

/// An open file description: shared by duplicated and inherited descriptors.
struct OpenFile {
    var kind: OpenFileKind
    var stream: UInt16
    var references: UInt32
    var flags: UInt32
    var offset: UInt64
    var node: NodePointer?
    var pipe: PipePointer?

    static func make(_ node: NodePointer, flags: UInt32) -> OpenFilePointer? {
        guard let file = kernelHeap.make(OpenFile.self) else { return nil }
        file.pointee = OpenFile(
            kind: .node, stream: 1, references: 1, flags: flags, offset: 0, node: node, pipe: nil)
        node.pointee.references &+= 1
        return file
    }

    static func makeConsole(stream: UInt16) -> OpenFilePointer? {
        guard let file = kernelHeap.make(OpenFile.self) else { return nil }
        file.pointee = OpenFile(
            kind: .console, stream: stream, references: 1, flags: OpenFlags.readWrite, offset: 0, node: nil, pipe: nil)
        return file
    }

    static func makePipeEnd(_ pipe: PipePointer, _ kind: OpenFileKind, flags: UInt32) -> OpenFilePointer? {
        guard let file = kernelHeap.make(OpenFile.self) else { return nil }
        file.pointee = OpenFile(
            kind: kind, stream: 0, references: 1, flags: flags, offset: 0, node: nil, pipe: pipe)
        return file
    }

    static func release(_ file: OpenFilePointer) {
        file.pointee.references &-= 1
        if file.pointee.references != 0 { return }
        if let node = file.pointee.node { Node.release(node) }
        if let pipe = file.pointee.pipe {
            if file.pointee.kind == .pipeReader { pipe.pointee.readers &-= 1 } else { pipe.pointee.writers &-= 1 }
            Pipe.changed(pipe)
            Pipe.releaseIfUnused(pipe)
        }
        kernelHeap.destroy(file)
    }

    @inline(__always)
    var isReadable: Bool { flags & OpenFlags.accessMode != OpenFlags.writeOnly && flags & OpenFlags.path == 0 }
    @inline(__always)
    var isWritable: Bool { flags & OpenFlags.accessMode != 0 && flags & OpenFlags.path == 0 }
    var isNonblocking: Bool { flags & OpenFlags.nonblocking != 0 }

    /// read(2) at `at`, or at the file's own offset when nil.
    mutating func read(_ address: UInt64, _ bytes: UInt64, at: UInt64?) -> Int {
        if !isReadable { return -EBADF }
        if !UserMemory.isValid(address, bytes) { return -EFAULT }
        switch kind {
        case .pipeReader:
            if at != nil { return -ESPIPE }
            return Pipe.read(pipe.unsafelyUnwrapped, address, bytes, nonblocking: isNonblocking)
        case .pipeWriter: return -EBADF
        case .console: return at == nil ? 0 : -ESPIPE
        case .node: break
        }
        let node = node.unsafelyUnwrapped
        switch node.pointee.kind {
        case .file:
            let done = node.pointee.read(at ?? offset, address, bytes)
            if at == nil && done > 0 { offset &+= UInt64(done) }
            return done
        case .directory: return -EISDIR
        case .symbolicLink: return -EINVAL
        case .device: return DeviceFiles.read(node.pointee.device, address, bytes)
        }
    }

    /// write(2) at `at`, or at the file's own offset (its end with O_APPEND) when nil.
    mutating func write(_ address: UInt64, _ bytes: UInt64, at: UInt64?) -> Int {
        if !isWritable { return -EBADF }
        if !UserMemory.isValid(address, bytes) { return -EFAULT }
        switch kind {
        case .pipeWriter:
            if at != nil { return -ESPIPE }
            return Pipe.write(pipe.unsafelyUnwrapped, address, bytes, nonblocking: isNonblocking)
        case .pipeReader: return -EBADF
        case .console: return at == nil ? Console.write(stream: stream, address, bytes) : -ESPIPE
        case .node: break
        }
        let node = node.unsafelyUnwrapped
        switch node.pointee.kind {
        case .file:
            if at == nil && flags & OpenFlags.append != 0 { offset = node.pointee.size }
            let done = node.pointee.write(at ?? offset, address, bytes)
            if at == nil && done > 0 { offset &+= UInt64(done) }
            return done
        case .directory: return -EISDIR
        case .symbolicLink: return -EINVAL
        case .device: return DeviceFiles.write(node.pointee.device, address, bytes)
        }
    }
}

/// The files under /dev.
enum DeviceFiles {
    static func read(_ device: Device, _ address: UInt64, _ bytes: UInt64) -> Int {
        switch device {
        case .null, .console, .records: return 0
        case .zero: return UserMemory.zero(address, bytes) ? Int(bytes) : -EFAULT
        case .random: return RandomNumbers.fill(address, bytes)
        }
    }

    static func write(_ device: Device, _ address: UInt64, _ bytes: UInt64) -> Int {
        switch device {
        case .null, .zero, .random: return Int(bytes)
        case .console: return Console.write(stream: 1, address, bytes)
        case .records: return Console.writeRecord(address, bytes)
        }
    }
}
