import CPU

/// Reads the boot archive (cpio "newc", cpio(5)) into the file tree. File contents stay where they are.
///
/// The archive is checked like any input: a header or size that does not fit ends the reading with a message.
enum BootArchive {
    private static let headerBytes: UInt64 = 110

    static func unpack(at address: UInt64, bytes: UInt64) -> Bool {
        var offset: UInt64 = 0
        while bytes &- offset >= headerBytes && offset < bytes {
            let header = UnsafePointer(pointer(address &+ offset, as: UInt8.self))
            // Archives may be followed by zero padding.
            if header[0] == 0 { return true }
            guard isMagic(header) else { return fail("file tree: bad cpio header at ", offset) }
            guard let mode = hexadecimal(header, 1), let size = hexadecimal(header, 6),
                let nameSize = hexadecimal(header, 11), let modified = hexadecimal(header, 5)
            else { return fail("file tree: bad digit in cpio header at ", offset) }
            let nameAt = offset &+ headerBytes
            let dataAt = (nameAt &+ nameSize &+ 3) & ~3
            guard nameSize > 0, dataAt <= bytes, size <= bytes &- dataAt else {
                return fail("file tree: archive is cut short at ", offset)
            }
            let name = UnsafePointer(pointer(address &+ nameAt, as: UInt8.self))
            // The name ends at its first zero: more of them may pad the data to a page border.
            var length = Int(user_string_length(addressOf(name), nameSize))
            if length == 10, isTrailer(name) { return true }
            while length > 0, name[length - 1] == UInt8(ascii: "/") { length -= 1 }
            if !add(name, length, mode: mode, modified: modified, data: address &+ dataAt, size: size) {
                return fail("file tree: cannot add the entry at ", offset)
            }
            offset = (dataAt &+ size &+ 3) & ~3
        }
        return true
    }

    private static func add(
        _ path: UnsafePointer<UInt8>, _ length: Int, mode: UInt64, modified: UInt64, data: UInt64, size: UInt64
    ) -> Bool {
        let kind: NodeKind
        switch mode & 0o170000 {
        case 0o040000: kind = .directory
        case 0o100000: kind = .file
        case 0o120000: kind = .symbolicLink
        default: return true
        }
        if kind == .symbolicLink && (size == 0 || size >= UInt64(KERNEL_PATH_BYTES)) { return true }
        let permissions = UInt16(truncatingIfNeeded: mode & 0o7777)
        let place = fileTree.look(up: path, length, from: fileTree.root, followLast: false)
        var node = place.node
        if let existing = node {
            if existing.pointee.kind != kind { return true }
            existing.pointee.mode = permissions
        } else {
            guard let parent = place.parent ?? makeParents(path, length) else { return false }
            var start = length
            while start > 0, path[start - 1] != UInt8(ascii: "/") { start -= 1 }
            guard let new = Node.make(kind, mode: permissions) else { return false }
            if !fileTree.link(new, into: parent, path + start, length - start, copyName: false) { return false }
            node = new
        }
        if kind != .directory, let node {
            node.pointee.backing = data
            node.pointee.backingBytes = size
            node.pointee.size = size
        }
        node?.pointee.modified = modified &* 1_000_000_000
        return true
    }

    /// Makes the directories that lead to an entry; nil when something else is in the way.
    private static func makeParents(_ path: UnsafePointer<UInt8>, _ length: Int) -> NodePointer? {
        var directory = fileTree.root
        var start = 0
        for index in 0..<length where path[index] == UInt8(ascii: "/") {
            if index > start {
                let place = fileTree.look(up: path + start, index - start, from: directory)
                if let node = place.node {
                    directory = node
                } else {
                    guard let node = fileTree.create(place, .directory, mode: 0o755, copyName: false).0 else {
                        return nil
                    }
                    directory = node
                }
                if directory.pointee.kind != .directory { return nil }
            }
            start = index + 1
        }
        return directory
    }

    private static func isMagic(_ header: UnsafePointer<UInt8>) -> Bool {
        let magic: StaticString = "07070"
        return memcmp(header, magic.utf8Start, 5) == 0
            && (header[5] == UInt8(ascii: "1") || header[5] == UInt8(ascii: "2"))
    }

    private static func isTrailer(_ name: UnsafePointer<UInt8>) -> Bool {
        let trailer: StaticString = "TRAILER!!!"
        return memcmp(name, trailer.utf8Start, 10) == 0
    }

    /// Field `index` of a header: eight hexadecimal digits.
    private static func hexadecimal(_ header: UnsafePointer<UInt8>, _ index: Int) -> UInt64? {
        var value: UInt64 = 0
        let digits = header + 6 + 8 * index
        for position in 0..<8 {
            let digit = digits[position]
            if digit >= 48 && digit <= 57 {
                value = value << 4 | UInt64(digit &- 48)
            } else if digit | 32 >= 97 && digit | 32 <= 102 {
                value = value << 4 | UInt64((digit | 32) &- 87)
            } else {
                return nil
            }
        }
        return value
    }

    private static func fail(_ message: StaticString, _ offset: UInt64) -> Bool {
        kernelLog.text(message)
        kernelLog.decimal(offset)
        kernelLog.end()
        return false
    }

    /// Directories and devices that are there whatever the archive holds.
    static func addDevices() -> Bool {
        let mode: UInt16 = 0o666
        guard let dev = directory("dev"), directory("tmp") != nil, let proc = directory("proc") else { return false }
        guard let own = subdirectory(proc, "self") else { return false }
        guard let exe = Node.make(.symbolicLink, mode: 0o777) else { return false }
        let name: StaticString = "exe"
        guard fileTree.link(exe, into: own, name.utf8Start, 3, copyName: false) else { return false }
        fileTree.executableLink = exe
        return device(dev, "null", .null, mode) && device(dev, "zero", .zero, mode)
            && device(dev, "urandom", .random, mode) && device(dev, "random", .random, mode)
            && device(dev, "tty", .console, mode) && device(dev, "console", .console, mode)
            && device(dev, "stdout", .console, mode) && device(dev, "stderr", .console, mode)
            && device(dev, "vbench", .records, mode)
    }

    private static func directory(_ name: StaticString) -> NodePointer? { subdirectory(fileTree.root, name) }

    private static func subdirectory(_ parent: NodePointer, _ name: StaticString) -> NodePointer? {
        let place = fileTree.look(up: name.utf8Start, name.utf8CodeUnitCount, from: parent)
        if let node = place.node { return node.pointee.kind == .directory ? node : nil }
        return fileTree.create(place, .directory, mode: 0o755, copyName: false).0
    }

    private static func device(_ parent: NodePointer, _ name: StaticString, _ device: Device, _ mode: UInt16) -> Bool {
        let place = fileTree.look(up: name.utf8Start, name.utf8CodeUnitCount, from: parent)
        if place.node != nil { return true }
        guard let node = fileTree.create(place, .device, mode: mode, copyName: false).0 else { return false }
        node.pointee.device = device
        return true
    }
}
