import Support

typealias Program = FileTree

/// What file systems are asked for most, on many small files in one directory: names and their nodes, little data.
struct FileTree: Workload {
    static var name: StaticString { "file-tree" }
    static var summary: StaticString { "create, write, read, stat, rename, list and remove files and directories" }
    static var operation: StaticString { "file or directory" }
    static var options: StaticString {
        """
          --operations M  files a round (default 100), of each phase: create, write, read, stat, rename, list, unlink, mkdir
          --bytes B       size of a file (default 4K)
          --directory D   where to make a directory for them, which is removed at the end (default /tmp)

        """
    }

    private enum Phase: Int, CaseIterable { case create, write, read, stat, rename, list, unlink, makeDirectory }

    private let files: Int
    private let bytes: Int
    private let directory: Directory
    private let originalNames: FileNames
    private let otherNames: FileNames
    private let content: UnsafeMutablePointer<UInt8>
    private let buffer: UnsafeMutablePointer<UInt8>
    private var exist = false
    private var areRenamed = false
    private var round: UInt64 = 0
    private var sum = Checksum()

    init(_ arguments: inout Arguments) {
        files = Int(arguments.number("--operations", default: 100, in: 1...1_000_000))
        bytes = Int(arguments.number("--bytes", default: 4096, in: 1...(1 << 30)))
        var path = arguments.path("--directory", default: "/tmp")
        path.append("/vbench-file-tree-")
        path.append(UInt64(vb_syscall0(Int64(SYS_getpid))))
        arguments.rejectUnused()
        directory = Directory(making: path)
        originalNames = FileNames(files, prefix: "file-")
        otherNames = FileNames(files, prefix: "renamed-")
        content = .allocate(capacity: bytes)
        buffer = .allocate(capacity: bytes)
    }

    var phases: Int { Phase.allCases.count }

    func appendName(ofPhase phase: Int, to text: inout Text) {
        switch Phase(rawValue: phase) {
        case .create: text.append("create")
        case .write: text.append("write")
        case .read: text.append("read")
        case .stat: text.append("stat")
        case .rename: text.append("rename")
        case .list: text.append("list")
        case .unlink: text.append("unlink")
        default: text.append("mkdir")
        }
    }

    // MARK: Rounds

    mutating func prepare(phase: Int) {
        round &+= 1
        sum = Checksum()
        let phase = Phase(rawValue: phase)
        if phase == .create || phase == .makeDirectory {
            removeFiles()
            return
        }
        if !exist { createFiles() }
        // Other content each round, so that a round that did nothing shows.
        if phase == .write || phase == .read || phase == .stat {
            for index in 0..<bytes { content[index] = UInt8(truncatingIfNeeded: UInt64(index) &* 31 &+ round) }
        }
        if phase == .read || phase == .stat { writeFiles() }
    }

    mutating func run(phase: Int) -> UInt64 {
        switch Phase(rawValue: phase) {
        case .create: createFiles()
        case .write: writeFiles()
        case .read: readFiles()
        case .stat: for file in 0..<files { sum.mix(directory.size(names, file)) }
        case .rename: renameFiles()
        case .list: sum.mix(directory.list().hash)
        case .unlink: removeFiles()
        default:
            for file in 0..<files { directory.makeDirectory(originalNames, file) }
            sum.mix(directory.list().hash)
            for file in 0..<files { directory.remove(originalNames, file, AT_REMOVEDIR) }
        }
        return UInt64(files)
    }

    /// What the round saw; where it saw nothing, what it left, looked at by other calls.
    mutating func outcome(phase: Int) -> Outcome {
        var expected = Checksum()
        switch Phase(rawValue: phase) {
        case .create, .rename:
            sum.mix(directory.list().hash)
            expected.mix(names.hash)
        case .write:
            readFiles()
            for _ in 0..<files { expected.mix(1) }
        case .read: for _ in 0..<files { expected.mix(1) }
        case .stat: for _ in 0..<files { expected.mix(UInt64(bytes)) }
        case .list: expected.mix(names.hash)
        case .unlink:
            sum.mix(directory.list().entries)
            expected.mix(0)
        default:
            sum.mix(directory.list().entries)
            expected.mix(originalNames.hash)
            expected.mix(0)
        }
        return Outcome(got: sum.value, expected: expected.value)
    }

    mutating func finish() {
        removeFiles()
        directory.remove()
    }

    // MARK: Files

    private var names: FileNames { areRenamed ? otherNames : originalNames }

    private mutating func createFiles() {
        for file in 0..<files { directory.close(directory.open(names, file, O_WRONLY | O_CREAT | O_EXCL)) }
        exist = true
    }

    private func writeFiles() {
        for file in 0..<files {
            let descriptor = directory.open(names, file, O_WRONLY | O_TRUNC)
            let written = vb_syscall3(Int64(SYS_write), descriptor, Int64(Int(bitPattern: content)), Int64(bytes))
            guard written == Int64(bytes) else { systemError("writing a file", written) }
            directory.close(descriptor)
        }
    }

    private mutating func readFiles() {
        for file in 0..<files {
            let descriptor = directory.open(names, file, O_RDONLY)
            let read = vb_syscall3(Int64(SYS_read), descriptor, Int64(Int(bitPattern: buffer)), Int64(bytes))
            sum.mix(read == Int64(bytes) && memcmp(buffer, content, bytes) == 0 ? 1 : 0)
            directory.close(descriptor)
        }
    }

    private mutating func renameFiles() {
        let new = areRenamed ? originalNames : otherNames
        for file in 0..<files { directory.rename(names, new, file) }
        areRenamed.toggle()
    }

    private mutating func removeFiles() {
        guard exist else { return }
        for file in 0..<files { directory.remove(names, file, 0) }
        exist = false
    }
}

/// File names, made before they are needed.
private struct FileNames {
    private static let width = 24
    private let text: UnsafeMutablePointer<UInt8>
    /// Of all names in any order.
    private(set) var hash: UInt64 = 0

    init(_ count: Int, prefix: StaticString) {
        text = .allocate(capacity: count * Self.width)
        for index in 0..<count {
            var name = Text()
            name.append(prefix)
            name.append(UInt64(index))
            let start = text + index * Self.width
            for (position, byte) in name.bytes.enumerated() { start[position] = byte }
            start[name.bytes.count] = 0
            hash &+= Self.hash(start)
        }
    }

    @inline(__always)
    subscript(index: Int) -> Int64 { Int64(Int(bitPattern: text + index * Self.width)) }

    static func hash(_ name: UnsafePointer<UInt8>) -> UInt64 {
        var checksum = Checksum()
        var next = name
        while next.pointee != 0 {
            checksum.mix(UInt64(next.pointee))
            next += 1
        }
        return checksum.value
    }
}

/// A directory of the program's own, by system calls on its descriptor.
private struct Directory {
    private static let listBytes = 32768

    private let path: UnsafePointer<CChar>
    private let descriptor: Int64
    private let entries: UnsafeMutablePointer<UInt8>

    init(making path: Text) {
        self.path = path.makeCString()
        if mkdir(self.path, 0o755) != 0 { systemError("making a directory in that of --directory", Int64(vb_errno())) }
        descriptor = Int64(vb_open(self.path, O_RDONLY | O_DIRECTORY, 0))
        if descriptor < 0 { systemError("opening the directory", Int64(vb_errno())) }
        entries = .allocate(capacity: Self.listBytes)
    }

    func remove() {
        close(descriptor)
        if rmdir(path) != 0 { systemError("removing the directory", Int64(vb_errno())) }
    }

    @inline(__always)
    func open(_ names: FileNames, _ file: Int, _ flags: Int32) -> Int64 {
        let result = vb_syscall4(Int64(SYS_openat), descriptor, names[file], Int64(flags), 0o644)
        if result < 0 { systemError("opening a file", result) }
        return result
    }

    @inline(__always)
    func close(_ file: Int64) { _ = vb_syscall1(Int64(SYS_close), file) }

    @inline(__always)
    func size(_ names: FileNames, _ file: Int) -> UInt64 {
        var attributes = stat()
        let result = withUnsafeMutablePointer(to: &attributes) {
            vb_syscall4(Int64(SYS_newfstatat), descriptor, names[file], Int64(Int(bitPattern: $0)), 0)
        }
        if result != 0 { systemError("stat", result) }
        return UInt64(attributes.st_size)
    }

    @inline(__always)
    func rename(_ old: FileNames, _ new: FileNames, _ file: Int) {
        let result = vb_syscall4(Int64(SYS_renameat), descriptor, old[file], descriptor, new[file])
        if result != 0 { systemError("renaming a file", result) }
    }

    @inline(__always)
    func makeDirectory(_ names: FileNames, _ file: Int) {
        let result = vb_syscall3(Int64(SYS_mkdirat), descriptor, names[file], 0o755)
        if result != 0 { systemError("mkdir", result) }
    }

    @inline(__always)
    func remove(_ names: FileNames, _ file: Int, _ flags: Int32) {
        let result = vb_syscall3(Int64(SYS_unlinkat), descriptor, names[file], Int64(flags))
        if result != 0 { systemError("removing a file", result) }
    }

    /// The names in it but "." and "..", in whatever order the system gives them.
    func list() -> (entries: UInt64, hash: UInt64) {
        var count: UInt64 = 0
        var hash: UInt64 = 0
        _ = vb_syscall3(Int64(SYS_lseek), descriptor, 0, Int64(SEEK_SET))
        while true {
            let got = vb_syscall3(
                Int64(SYS_getdents64), descriptor, Int64(Int(bitPattern: entries)), Int64(Self.listBytes))
            if got < 0 { systemError("reading the directory", got) }
            if got == 0 { return (count, hash) }
            // struct linux_dirent64 (getdents(2)): length of the record at byte 16, the name from byte 19 on.
            var entry = 0
            while entry < Int(got) {
                let name = entries + entry + 19
                entry += Int(UInt16(entries[entry + 16]) | UInt16(entries[entry + 17]) << 8)
                let dot = UInt8(ascii: ".")
                if name[0] == dot, name[1] == 0 || (name[1] == dot && name[2] == 0) { continue }
                count += 1
                hash &+= FileNames.hash(name)
            }
        }
    }
}
