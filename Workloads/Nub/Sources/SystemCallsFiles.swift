import CPU

// The file tree: open, stat, directories, links.

private let currentDirectory: Int32 = -100
private let symbolicLinkNoFollow: UInt32 = 0x100
private let removeDirectory: UInt32 = 0x200
private let emptyPath: UInt32 = 0x1000

/// Looks up a path of user memory, relative to `directory`.
private func look(
    up path: UInt64, from directory: Int32 = currentDirectory, followLast: Bool = true,
    buffer: UnsafeMutablePointer<UInt8> = kernel_path_buffer()
) -> Lookup {
    var failed = Lookup(node: nil, parent: nil, name: buffer, nameLength: 0, error: 0)
    let length = UserMemory.copyPath(path, buffer)
    if length < 0 {
        failed.error = length
        return failed
    }
    let process = Scheduler.currentProcess
    var start = process.pointee.workingDirectory
    if directory != currentDirectory && !(length > 0 && buffer[0] == UInt8(ascii: "/")) {
        guard let file = process.pointee.file(Int(directory)) else {
            failed.error = -EBADF
            return failed
        }
        guard let node = file.pointee.node, node.pointee.kind == .directory else {
            failed.error = -ENOTDIR
            return failed
        }
        start = node
    }
    return fileTree.look(up: buffer, length, from: start, followLast: followLast)
}

// MARK: open

private func open(_ directory: Int32, _ path: UInt64, _ flags: UInt32, _ mode: UInt32) -> Int {
    let process = Scheduler.currentProcess
    let follow = flags & OpenFlags.noFollow == 0 && flags & (OpenFlags.create | OpenFlags.exclusive) != 0o300
    let place = look(up: path, from: directory, followLast: follow)
    let node: NodePointer
    if let found = place.node {
        if flags & OpenFlags.create != 0 && flags & OpenFlags.exclusive != 0 { return -EEXIST }
        node = found
    } else {
        if flags & OpenFlags.create == 0 || place.error != -ENOENT { return place.error }
        let permissions = UInt16(truncatingIfNeeded: mode & 0o7777) & ~process.pointee.umask
        let (created, error) = fileTree.create(place, .file, mode: permissions)
        guard let created else { return error }
        node = created
    }
    let writes = flags & OpenFlags.accessMode != 0
    switch node.pointee.kind {
    case .symbolicLink: if flags & OpenFlags.path == 0 { return -ELOOP }
    case .directory: if writes || flags & OpenFlags.create != 0 { return -EISDIR }
    case .file, .device: if flags & OpenFlags.directory != 0 { return -ENOTDIR }
    }
    let kept = flags & ~(OpenFlags.create | OpenFlags.exclusive | OpenFlags.truncate | OpenFlags.closeOnExec)
    guard let file = OpenFile.make(node, flags: kept) else { return -ENOMEM }
    if flags & OpenFlags.truncate != 0 && writes { node.pointee.truncate(0) }
    return process.pointee.install(file, closeOnExec: flags & OpenFlags.closeOnExec != 0)
}

@c(systemCallOpen)
func systemCallOpen(_ path: UInt64, _ flags: UInt32, _ mode: UInt32) -> Int {
    open(currentDirectory, path, flags, mode)
}

@c(systemCallOpenat)
func systemCallOpenat(_ directory: Int32, _ path: UInt64, _ flags: UInt32, _ mode: UInt32) -> Int {
    open(directory, path, flags, mode)
}

@c(systemCallCreat)
func systemCallCreat(_ path: UInt64, _ mode: UInt32) -> Int {
    open(currentDirectory, path, OpenFlags.writeOnly | OpenFlags.create | OpenFlags.truncate, mode)
}

// MARK: stat

/// What stat and statx tell of a node, or of something that has none (pipe, console).
private struct Attributes {
    var inode: UInt64 = 1
    var mode: UInt32 = 0o020620
    var links: UInt64 = 1
    var device: UInt64 = 0
    var size: UInt64 = 0
    var modified: UInt64 = 0

    private init() {}

    init(_ file: OpenFilePointer) {
        if let node = file.pointee.node {
            self.init(node)
            return
        }
        self.init()
        if let pipe = file.pointee.pipe {
            mode = 0o010600
            inode = addressOf(pipe) & 0xFFFF_FFFF
        } else {
            device = 5 << 8 | 1
        }
    }

    init(_ node: NodePointer) {
        inode = UInt64(node.pointee.inode)
        size = node.pointee.size
        modified = node.pointee.modified
        let kind: UInt32
        switch node.pointee.kind {
        case .file: kind = 0o100000
        case .directory: kind = 0o040000
        case .symbolicLink: kind = 0o120000
        case .device:
            kind = 0o020000
            device = 1 << 8 | UInt64(node.pointee.device.rawValue + 3)
        }
        links = node.pointee.kind == .directory ? 2 : 1
        mode = kind | UInt32(node.pointee.mode)
    }

    /// struct stat, 144 bytes.
    func store(at address: UInt64) -> Int {
        var words = InlineArray<18, UInt64>(repeating: 0)
        words[0] = 1
        words[1] = inode
        words[2] = links
        words[3] = UInt64(mode)
        words[5] = device
        words[6] = size
        words[7] = pageBytes
        words[8] = (size &+ 511) >> 9
        for index in 0..<3 {
            words[9 + 2 * index] = modified / 1_000_000_000
            words[10 + 2 * index] = modified % 1_000_000_000
        }
        return UserMemory.store(words, at: address) ? 0 : -EFAULT
    }

    /// struct statx, 256 bytes; STATX_BASIC_STATS.
    func storeExtended(at address: UInt64) -> Int {
        var words = InlineArray<32, UInt64>(repeating: 0)
        words[0] = 0x7FF | pageBytes << 32
        words[2] = links
        words[3] = UInt64(mode) << 32
        words[4] = inode
        words[5] = size
        words[6] = (size &+ 511) >> 9
        for index in 8..<16 where index == 8 || index == 12 || index == 14 {
            words[index] = modified / 1_000_000_000
            words[index + 1] = modified % 1_000_000_000
        }
        words[16] = device >> 8 | (device & 0xFF) << 32
        words[17] = 0 | 1 << 32
        return UserMemory.store(words, at: address) ? 0 : -EFAULT
    }
}

private func stat(_ path: UInt64, _ result: UInt64, followLast: Bool) -> Int {
    let place = look(up: path, followLast: followLast)
    guard let node = place.node else { return place.error }
    return Attributes(node).store(at: result)
}

@c(systemCallStat)
func systemCallStat(_ path: UInt64, _ result: UInt64) -> Int { stat(path, result, followLast: true) }

@c(systemCallLstat)
func systemCallLstat(_ path: UInt64, _ result: UInt64) -> Int { stat(path, result, followLast: false) }

@c(systemCallFstat)
func systemCallFstat(_ descriptor: Int32, _ result: UInt64) -> Int {
    guard let file = Scheduler.currentProcess.pointee.file(Int(descriptor)) else { return -EBADF }
    return Attributes(file).store(at: result)
}

/// The attributes that an …at call with AT_EMPTY_PATH asks for.
private func attributes(_ directory: Int32, _ path: UInt64, _ flags: UInt32) -> (Attributes?, Int) {
    if flags & emptyPath != 0 {
        var first: UInt8 = 0
        if path != 0 && !UserMemory.load(&first, from: path) { return (nil, -EFAULT) }
        if first == 0 {
            if directory == currentDirectory {
                return (Attributes(Scheduler.currentProcess.pointee.workingDirectory), 0)
            }
            guard let file = Scheduler.currentProcess.pointee.file(Int(directory)) else { return (nil, -EBADF) }
            return (Attributes(file), 0)
        }
    }
    let place = look(up: path, from: directory, followLast: flags & symbolicLinkNoFollow == 0)
    guard let node = place.node else { return (nil, place.error) }
    return (Attributes(node), 0)
}

@c(systemCallNewfstatat)
func systemCallNewfstatat(_ directory: Int32, _ path: UInt64, _ result: UInt64, _ flags: UInt32) -> Int {
    let (found, error) = attributes(directory, path, flags)
    return found?.store(at: result) ?? error
}

@c(systemCallStatx)
func systemCallStatx(_ directory: Int32, _ path: UInt64, _ flags: UInt32, _ mask: UInt32, _ result: UInt64) -> Int {
    let (found, error) = attributes(directory, path, flags)
    return found?.storeExtended(at: result) ?? error
}

/// Root may do anything but execute what nobody may execute.
private func access(_ directory: Int32, _ path: UInt64, _ mode: UInt32) -> Int {
    let place = look(up: path, from: directory)
    guard let node = place.node else { return place.error }
    let needsExecute = mode & 1 != 0 && node.pointee.kind == .file
    return needsExecute && node.pointee.mode & 0o111 == 0 ? -EACCES : 0
}

@c(systemCallAccess)
func systemCallAccess(_ path: UInt64, _ mode: UInt32) -> Int { access(currentDirectory, path, mode) }

@c(systemCallFaccessat)
func systemCallFaccessat(_ directory: Int32, _ path: UInt64, _ mode: UInt32) -> Int { access(directory, path, mode) }

private func readLink(_ directory: Int32, _ path: UInt64, _ buffer: UInt64, _ bytes: UInt64) -> Int {
    if bytes == 0 || bytes > UInt64(Int32.max) { return -EINVAL }
    let place = look(up: path, from: directory, followLast: false)
    guard let node = place.node else { return place.error }
    // /proc/self/exe looks like its target to `look`: the path asked for tells.
    if node == fileTree.executableLink || place.parent == nil {
        guard let executable = Scheduler.currentProcess.pointee.executable else { return -ENOENT }
        let text = kernel_path_buffer().unsafelyUnwrapped
        guard let start = fileTree.path(of: executable, text, Int(KERNEL_PATH_BYTES)) else { return -ENAMETOOLONG }
        let length = UInt64(Int(KERNEL_PATH_BYTES) - start)
        let count = length < bytes ? length : bytes
        return UserMemory.copyOut(buffer, text + start, count) ? Int(count) : -EFAULT
    }
    if node.pointee.kind != .symbolicLink { return -EINVAL }
    let count = node.pointee.size < bytes ? node.pointee.size : bytes
    return UserMemory.copyOut(buffer, node.pointee.target, count) ? Int(count) : -EFAULT
}

@c(systemCallReadlink)
func systemCallReadlink(_ path: UInt64, _ buffer: UInt64, _ bytes: UInt64) -> Int {
    readLink(currentDirectory, path, buffer, bytes)
}

@c(systemCallReadlinkat)
func systemCallReadlinkat(_ directory: Int32, _ path: UInt64, _ buffer: UInt64, _ bytes: UInt64) -> Int {
    readLink(directory, path, buffer, bytes)
}

// MARK: Directories

/// struct linux_dirent64: the offset counts entries, "." and ".." first.
@c(systemCallGetdents64)
func systemCallGetdents64(_ descriptor: Int32, _ buffer: UInt64, _ bytes: UInt64) -> Int {
    guard let file = Scheduler.currentProcess.pointee.file(Int(descriptor)) else { return -EBADF }
    guard let directory = file.pointee.node, directory.pointee.kind == .directory else { return -ENOTDIR }
    var done: UInt64 = 0
    var child = directory.pointee.firstChild
    var index: UInt64 = 2
    while index < file.pointee.offset, let node = child {
        child = node.pointee.nextSibling
        index &+= 1
    }
    while true {
        let position = file.pointee.offset
        let node: NodePointer
        var name = (UInt8(ascii: "."), UInt8(ascii: "."))
        var length = 0
        if position < 2 {
            node = position == 0 ? directory : directory.pointee.parent ?? directory
            length = Int(position) + 1
        } else if let next = child {
            node = next
        } else {
            return Int(done)
        }
        if length == 0 { length = node.pointee.nameLength }
        let size = (UInt64(19 + length + 1) &+ 7) & ~7
        if size > bytes &- done { return done == 0 ? -EINVAL : Int(done) }
        let type: UInt8
        switch node.pointee.kind {
        case .file: type = 8
        case .directory: type = 4
        case .symbolicLink: type = 10
        case .device: type = 2
        }
        let at = buffer &+ done
        let stored =
            UserMemory.zero(at, size) && UserMemory.store(UInt64(node.pointee.inode), at: at)
            && UserMemory.store(position &+ 1, at: at &+ 8) && UserMemory.store(UInt16(size), at: at &+ 16)
            && UserMemory.store(type, at: at &+ 18)
        let named =
            position < 2
            ? UserMemory.copyOut(at &+ 19, &name, UInt64(length))
            : UserMemory.copyOut(at &+ 19, node.pointee.name.unsafelyUnwrapped, UInt64(length))
        if !stored || !named { return -EFAULT }
        done &+= size
        file.pointee.offset = position &+ 1
        if position >= 2 { child = node.pointee.nextSibling }
    }
}

@c(systemCallGetcwd)
func systemCallGetcwd(_ buffer: UInt64, _ bytes: UInt64) -> Int {
    let text = kernel_path_buffer().unsafelyUnwrapped
    let capacity = Int(KERNEL_PATH_BYTES) - 1
    let node = Scheduler.currentProcess.pointee.workingDirectory
    guard let start = fileTree.path(of: node, text, capacity) else { return -ENAMETOOLONG }
    text[capacity] = 0
    let count = UInt64(capacity - start + 1)
    if count > bytes { return -ERANGE }
    return UserMemory.copyOut(buffer, text + start, count) ? Int(count) : -EFAULT
}

private func changeDirectory(_ node: NodePointer) -> Int {
    guard node.pointee.kind == .directory else { return -ENOTDIR }
    let process = Scheduler.currentProcess
    node.pointee.references &+= 1
    Node.release(process.pointee.workingDirectory)
    process.pointee.workingDirectory = node
    return 0
}

@c(systemCallChdir)
func systemCallChdir(_ path: UInt64) -> Int {
    let place = look(up: path)
    guard let node = place.node else { return place.error }
    return changeDirectory(node)
}

@c(systemCallFchdir)
func systemCallFchdir(_ descriptor: Int32) -> Int {
    guard let file = Scheduler.currentProcess.pointee.file(Int(descriptor)) else { return -EBADF }
    guard let node = file.pointee.node else { return -ENOTDIR }
    return changeDirectory(node)
}

private func makeDirectory(_ directory: Int32, _ path: UInt64, _ mode: UInt32) -> Int {
    let place = look(up: path, from: directory, followLast: false)
    if place.node != nil { return -EEXIST }
    if place.error != -ENOENT { return place.error }
    let permissions = UInt16(truncatingIfNeeded: mode & 0o7777) & ~Scheduler.currentProcess.pointee.umask
    return fileTree.create(place, .directory, mode: permissions).1
}

@c(systemCallMkdir)
func systemCallMkdir(_ path: UInt64, _ mode: UInt32) -> Int { makeDirectory(currentDirectory, path, mode) }

@c(systemCallMkdirat)
func systemCallMkdirat(_ directory: Int32, _ path: UInt64, _ mode: UInt32) -> Int {
    makeDirectory(directory, path, mode)
}

// MARK: Removing, renaming, linking

private func remove(_ directory: Int32, _ path: UInt64, isDirectory: Bool) -> Int {
    let place = look(up: path, from: directory, followLast: false)
    guard let node = place.node else { return place.error }
    if place.nameLength == 0 { return node == fileTree.root ? -EPERM : -EINVAL }
    if node.pointee.kind == .directory {
        if !isDirectory { return -EISDIR }
        if node.pointee.firstChild != nil { return -ENOTEMPTY }
    } else if isDirectory {
        return -ENOTDIR
    }
    fileTree.unlink(node)
    return 0
}

@c(systemCallUnlink)
func systemCallUnlink(_ path: UInt64) -> Int { remove(currentDirectory, path, isDirectory: false) }

@c(systemCallRmdir)
func systemCallRmdir(_ path: UInt64) -> Int { remove(currentDirectory, path, isDirectory: true) }

@c(systemCallUnlinkat)
func systemCallUnlinkat(_ directory: Int32, _ path: UInt64, _ flags: UInt32) -> Int {
    remove(directory, path, isDirectory: flags & removeDirectory != 0)
}

private func rename(_ oldDirectory: Int32, _ old: UInt64, _ newDirectory: Int32, _ new: UInt64, _ flags: UInt32) -> Int
{
    let noReplace: UInt32 = 1
    if flags & ~noReplace != 0 { return -EINVAL }
    let source = look(up: old, from: oldDirectory, followLast: false)
    guard let node = source.node else { return source.error }
    if source.nameLength == 0 { return -EINVAL }
    let target = look(up: new, from: newDirectory, followLast: false, buffer: kernel_second_path_buffer())
    guard let parent = target.parent else { return target.error == 0 ? -EINVAL : target.error }
    if target.nameLength == 0 { return -EINVAL }
    if target.node == node { return 0 }
    // A directory cannot move below itself.
    var ancestor = parent
    while ancestor != fileTree.root {
        if ancestor == node { return -EINVAL }
        ancestor = ancestor.pointee.parent.unsafelyUnwrapped
    }
    if let replaced = target.node {
        if flags & noReplace != 0 { return -EEXIST }
        if replaced.pointee.kind == .directory {
            if node.pointee.kind != .directory { return -EISDIR }
            if replaced.pointee.firstChild != nil { return -ENOTEMPTY }
        } else if node.pointee.kind == .directory {
            return -ENOTDIR
        }
        fileTree.unlink(replaced)
    }
    return fileTree.move(node, into: parent, target.name, target.nameLength) ? 0 : -ENOMEM
}

@c(systemCallRename)
func systemCallRename(_ old: UInt64, _ new: UInt64) -> Int { rename(currentDirectory, old, currentDirectory, new, 0) }

/// renameat and renameat2: the former has no fifth argument, so only the latter's table entry passes flags.
@c(systemCallRenameat)
func systemCallRenameat(_ oldDirectory: Int32, _ old: UInt64, _ newDirectory: Int32, _ new: UInt64) -> Int {
    rename(oldDirectory, old, newDirectory, new, 0)
}

@c(systemCallRenameat2)
func systemCallRenameat2(
    _ oldDirectory: Int32, _ old: UInt64, _ newDirectory: Int32, _ new: UInt64, _ flags: UInt32
) -> Int {
    rename(oldDirectory, old, newDirectory, new, flags)
}

/// Hard links: a node has one name here.
@c(systemCallLink)
func systemCallLink() -> Int { -EPERM }

@c(systemCallLinkat)
func systemCallLinkat() -> Int { -EPERM }

private func makeSymbolicLink(_ target: UInt64, _ directory: Int32, _ path: UInt64) -> Int {
    let text = kernel_second_path_buffer().unsafelyUnwrapped
    let length = UserMemory.copyPath(target, text)
    if length <= 0 { return length == 0 ? -ENOENT : length }
    let place = look(up: path, from: directory, followLast: false)
    if place.node != nil { return -EEXIST }
    if place.error != -ENOENT { return place.error }
    guard let copy = kernelHeap.allocate(length) else { return -ENOMEM }
    let (node, error) = fileTree.create(place, .symbolicLink, mode: 0o777)
    guard let node else {
        kernelHeap.release(copy, bytes: length)
        return error
    }
    memcpy(copy, text, UInt(length))
    node.pointee.backing = addressOf(copy)
    node.pointee.size = UInt64(length)
    return 0
}

@c(systemCallSymlink)
func systemCallSymlink(_ target: UInt64, _ path: UInt64) -> Int { makeSymbolicLink(target, currentDirectory, path) }

@c(systemCallSymlinkat)
func systemCallSymlinkat(_ target: UInt64, _ directory: Int32, _ path: UInt64) -> Int {
    makeSymbolicLink(target, directory, path)
}

// MARK: Attributes

private func changeMode(_ directory: Int32, _ path: UInt64, _ mode: UInt32) -> Int {
    let place = look(up: path, from: directory)
    guard let node = place.node else { return place.error }
    node.pointee.mode = UInt16(truncatingIfNeeded: mode & 0o7777)
    return 0
}

@c(systemCallChmod)
func systemCallChmod(_ path: UInt64, _ mode: UInt32) -> Int { changeMode(currentDirectory, path, mode) }

@c(systemCallFchmodat)
func systemCallFchmodat(_ directory: Int32, _ path: UInt64, _ mode: UInt32) -> Int {
    changeMode(directory, path, mode)
}

@c(systemCallFchmod)
func systemCallFchmod(_ descriptor: Int32, _ mode: UInt32) -> Int {
    guard let file = Scheduler.currentProcess.pointee.file(Int(descriptor)) else { return -EBADF }
    if let node = file.pointee.node { node.pointee.mode = UInt16(truncatingIfNeeded: mode & 0o7777) }
    return 0
}

/// Everything belongs to root and stays so.
@c(systemCallChown)
func systemCallChown(_ path: UInt64) -> Int {
    let place = look(up: path, followLast: false)
    return place.node == nil ? place.error : 0
}

@c(systemCallFchown)
func systemCallFchown(_ descriptor: Int32) -> Int {
    Scheduler.currentProcess.pointee.file(Int(descriptor)) == nil ? -EBADF : 0
}

/// utimes and utimensat: times are those of the last change.
@c(systemCallUtimes)
func systemCallUtimes() -> Int { 0 }

@c(systemCallUmask)
func systemCallUmask(_ mask: UInt32) -> Int {
    let process = Scheduler.currentProcess
    let old = process.pointee.umask
    process.pointee.umask = UInt16(truncatingIfNeeded: mask & 0o777)
    return Int(old)
}

@c(systemCallTruncate)
func systemCallTruncate(_ path: UInt64, _ length: Int64) -> Int {
    let place = look(up: path)
    guard let node = place.node else { return place.error }
    return truncate(node, length)
}

@c(systemCallFtruncate)
func systemCallFtruncate(_ descriptor: Int32, _ length: Int64) -> Int {
    guard let file = Scheduler.currentProcess.pointee.file(Int(descriptor)) else { return -EBADF }
    guard let node = file.pointee.node, file.pointee.isWritable else { return -EINVAL }
    return truncate(node, length)
}

private func truncate(_ node: NodePointer, _ length: Int64) -> Int {
    if node.pointee.kind != .file { return node.pointee.kind == .directory ? -EISDIR : -EINVAL }
    if length < 0 { return -EINVAL }
    if UInt64(length) > Node.maximumBytes { return -EFBIG }
    node.pointee.truncate(UInt64(length))
    return 0
}
