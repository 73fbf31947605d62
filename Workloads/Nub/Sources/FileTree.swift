import CPU

/// What a path led to.
struct Lookup {
    /// The node, or nil with `error` (then `parent` and the name say where it could be created, if `error` is ENOENT
    /// and only the last component is missing).
    var node: NodePointer?
    var parent: NodePointer?
    var name: UnsafePointer<UInt8>
    var nameLength: Int
    /// A negative error number, or 0.
    var error: Int
}

/// The tree of files, all in RAM: filled from the boot archive, writable, gone at the end.
struct FileTree {
    private var rootNode: NodePointer?
    /// /proc/self/exe: leads to the executable of the process that asks.
    var executableLink: NodePointer?

    var root: NodePointer { rootNode.unsafelyUnwrapped }

    mutating func start() -> Bool {
        guard let node = Node.make(.directory, mode: 0o755) else { return false }
        node.pointee.parent = node
        rootNode = node
        return true
    }

    /// The child of `directory` with this name.
    func child(of directory: NodePointer, _ name: UnsafePointer<UInt8>, _ length: Int) -> NodePointer? {
        var candidate = directory.pointee.firstChild
        while let node = candidate {
            if node.pointee.nameLength == length,
                memcmp(node.pointee.name.unsafelyUnwrapped, name, UInt(length)) == 0
            {
                return node
            }
            candidate = node.pointee.nextSibling
        }
        return nil
    }

    /// Hangs `node` into `directory`. With `copyName` the name is copied to the heap, else it must live as long.
    func link(
        _ node: NodePointer, into directory: NodePointer, _ name: UnsafePointer<UInt8>, _ length: Int, copyName: Bool
    ) -> Bool {
        if copyName {
            guard let block = kernelHeap.allocate(length) else { return false }
            memcpy(block, name, UInt(length))
            node.pointee.name = UnsafePointer(block.assumingMemoryBound(to: UInt8.self))
            node.pointee.nameBlock = length
        } else {
            node.pointee.name = name
            node.pointee.nameBlock = 0
        }
        node.pointee.nameLength = length
        node.pointee.parent = directory
        node.pointee.nextSibling = directory.pointee.firstChild
        directory.pointee.firstChild = node
        directory.pointee.modified = clock.wallNanoseconds
        return true
    }

    /// Takes `node` out of its directory and drops the tree's reference.
    func unlink(_ node: NodePointer) {
        detach(node)
        node.pointee.linked = false
        Node.release(node)
    }

    private func detach(_ node: NodePointer) {
        let directory = node.pointee.parent.unsafelyUnwrapped
        if directory.pointee.firstChild == node {
            directory.pointee.firstChild = node.pointee.nextSibling
        } else {
            var candidate = directory.pointee.firstChild
            while let sibling = candidate {
                if sibling.pointee.nextSibling == node {
                    sibling.pointee.nextSibling = node.pointee.nextSibling
                    break
                }
                candidate = sibling.pointee.nextSibling
            }
        }
        directory.pointee.modified = clock.wallNanoseconds
    }

    /// Gives `node` another place and name. The caller has made sure that the place is free and not below `node`.
    func move(_ node: NodePointer, into directory: NodePointer, _ name: UnsafePointer<UInt8>, _ length: Int) -> Bool {
        guard let block = kernelHeap.allocate(length) else { return false }
        memcpy(block, name, UInt(length))
        detach(node)
        if node.pointee.nameBlock != 0, let old = node.pointee.name {
            kernelHeap.release(UnsafeMutableRawPointer(mutating: old), bytes: node.pointee.nameBlock)
        }
        let copy = UnsafePointer(block.assumingMemoryBound(to: UInt8.self))
        _ = link(node, into: directory, copy, length, copyName: false)
        node.pointee.nameBlock = length
        return true
    }

    /// Follows a path of `length` bytes in kernel memory, from `start` unless it is absolute.
    func look(up path: UnsafePointer<UInt8>, _ length: Int, from start: NodePointer, followLast: Bool = true) -> Lookup
    {
        var rest = path
        var left = length
        var node = start
        var links = 0
        var missing = Lookup(node: nil, parent: nil, name: path, nameLength: 0, error: -ENOENT)
        if length == 0 { return missing }
        if rest[0] == UInt8(ascii: "/") { node = root }
        while true {
            while left > 0, rest[0] == UInt8(ascii: "/") {
                rest += 1
                left -= 1
            }
            if left == 0 {
                return Lookup(node: node, parent: node.pointee.parent, name: rest, nameLength: 0, error: 0)
            }
            var count = 0
            while count < left, rest[count] != UInt8(ascii: "/") { count += 1 }
            guard node.pointee.kind == .directory else {
                missing.error = -ENOTDIR
                return missing
            }
            if count > 255 {
                missing.error = -ENAMETOOLONG
                return missing
            }
            let name = rest
            rest += count
            left -= count
            if count == 1, name[0] == UInt8(ascii: ".") { continue }
            if count == 2, name[0] == UInt8(ascii: "."), name[1] == UInt8(ascii: ".") {
                node = node.pointee.parent.unsafelyUnwrapped
                continue
            }
            guard let next = child(of: node, name, count) else {
                var trailing = 0
                while trailing < left, rest[trailing] == UInt8(ascii: "/") { trailing += 1 }
                if trailing == left {
                    missing.parent = node
                    missing.name = name
                    missing.nameLength = count
                }
                return missing
            }
            if next.pointee.kind != .symbolicLink || (left == 0 && !followLast) {
                if left == 0 { return Lookup(node: next, parent: node, name: name, nameLength: count, error: 0) }
                node = next
                continue
            }
            if next == executableLink {
                guard let executable = Scheduler.current?.pointee.executable else { return missing }
                node = executable
                if left == 0 { return Lookup(node: node, parent: nil, name: name, nameLength: count, error: 0) }
                continue
            }
            // The link's target, then what is left of the path, in a buffer; the rest may already be in it.
            links += 1
            let targetLength = Int(next.pointee.size)
            if links > 40 || targetLength + left > Int(KERNEL_PATH_BYTES) {
                missing.error = -ELOOP
                return missing
            }
            let buffer = kernel_link_buffer().unsafelyUnwrapped
            memmove(buffer + targetLength, rest, UInt(left))
            memcpy(buffer, next.pointee.target, UInt(targetLength))
            rest = UnsafePointer(buffer)
            left += targetLength
            if left > 0, rest[0] == UInt8(ascii: "/") { node = root }
        }
    }

    /// Makes a node at the place a failed look-up has found. A negative error number, or 0.
    func create(_ place: Lookup, _ kind: NodeKind, mode: UInt16, copyName: Bool = true) -> (NodePointer?, Int) {
        guard let parent = place.parent, place.nameLength > 0 else { return (nil, place.error) }
        if !parent.pointee.linked { return (nil, -ENOENT) }
        guard let node = Node.make(kind, mode: mode) else { return (nil, -ENOMEM) }
        if !link(node, into: parent, place.name, place.nameLength, copyName: copyName) {
            kernelHeap.destroy(node)
            return (nil, -ENOMEM)
        }
        return (node, 0)
    }

    /// Writes the absolute path of `node` to the end of `buffer`; where it starts, or nil when it does not fit.
    func path(of node: NodePointer, _ buffer: UnsafeMutablePointer<UInt8>, _ capacity: Int) -> Int? {
        var start = capacity
        var node = node
        if node == root {
            start -= 1
            buffer[start] = UInt8(ascii: "/")
        }
        while node != root {
            let length = node.pointee.nameLength
            if start < length + 1 { return nil }
            start -= length
            if length > 0 { memcpy(buffer + start, node.pointee.name.unsafelyUnwrapped, UInt(length)) }
            start -= 1
            buffer[start] = UInt8(ascii: "/")
            node = node.pointee.parent.unsafelyUnwrapped
        }
        return start
    }

    /// Look-up of a constant path from the root.
    func node(_ path: StaticString) -> NodePointer? {
        look(up: path.utf8Start, path.utf8CodeUnitCount, from: root).node
    }
}

nonisolated(unsafe) var fileTree = FileTree()
