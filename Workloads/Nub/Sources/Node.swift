import CPU

/// What a node of the file tree is.
enum NodeKind: UInt8 {
    case file
    case directory
    case symbolicLink
    case device
}

/// The devices under /dev.
enum Device: UInt8 {
    case null
    case zero
    case random
    case console
    case records
}

typealias NodePointer = UnsafeMutablePointer<Node>

/// A file, directory, symbolic link or device.
///
/// A file's bytes are in pages of its own where there is one (`pages`: a table of 512 tables of 512 frames), else in the
/// archive it came from (`backing`), else zero. The pages double as page cache for mappings of archive files.
struct Node {
    var kind: NodeKind
    var device: Device
    var mode: UInt16
    var inode: UInt32
    /// Open files, mappings, working directories and executables, plus one for being linked in the tree.
    var references: UInt32
    var linked: Bool
    var parent: NodePointer?
    var firstChild: NodePointer?
    var nextSibling: NodePointer?
    var name: UnsafePointer<UInt8>?
    var nameLength: Int
    /// Bytes of the heap block that holds `name`, or 0 when it lies in the archive.
    var nameBlock: Int
    var backing: UInt64
    var backingBytes: UInt64
    var size: UInt64
    var modified: UInt64
    var pages: Frame

    /// Largest file: what two levels of tables hold.
    static let maximumBytes: UInt64 = 1 << 30

    nonisolated(unsafe) private static var nextInode: UInt32 = 1

    static func make(_ kind: NodeKind, mode: UInt16) -> NodePointer? {
        guard let node = kernelHeap.make(Node.self) else { return nil }
        node.pointee = Node(
            kind: kind, device: .null, mode: mode, inode: nextInode, references: 1, linked: true, parent: nil,
            firstChild: nil, nextSibling: nil, name: nil, nameLength: 0, nameBlock: 0, backing: 0, backingBytes: 0,
            size: 0, modified: clock.wallNanoseconds, pages: .none)
        nextInode &+= 1
        return node
    }

    static func release(_ node: NodePointer) {
        node.pointee.references &-= 1
        if node.pointee.references != 0 { return }
        node.pointee.truncate(0)
        if node.pointee.nameBlock != 0, let name = node.pointee.name {
            kernelHeap.release(UnsafeMutableRawPointer(mutating: name), bytes: node.pointee.nameBlock)
        }
        if node.pointee.kind == .symbolicLink, node.pointee.backingBytes == 0, node.pointee.backing != 0 {
            kernelHeap.release(rawPointer(node.pointee.backing), bytes: Int(node.pointee.size))
        }
        kernelHeap.destroy(node)
    }

    // MARK: Contents

    /// The frame of page `index` in `pages`, if there is one.
    private func ownPage(_ index: UInt64) -> Frame? {
        if pages == .none || index >= 512 * 512 { return nil }
        let leaf = pages.words[Int(index >> 9)]
        if leaf == 0 { return nil }
        let page = Frame(number: UInt32(truncatingIfNeeded: leaf)).words[Int(index & 511)]
        return page == 0 ? nil : Frame(number: UInt32(truncatingIfNeeded: page))
    }

    /// Page `index` as the file's own, copied from the archive if it is there; nil when RAM is exhausted.
    private mutating func makeOwnPage(_ index: UInt64) -> Frame? {
        if let page = ownPage(index) { return page }
        if index >= 512 * 512 { return nil }
        if pages == .none {
            guard let table = physicalMemory.allocateZeroed() else { return nil }
            pages = table
        }
        let slot = pages.words + Int(index >> 9)
        if slot.pointee == 0 {
            guard let table = physicalMemory.allocateZeroed() else { return nil }
            slot.pointee = UInt64(table.number)
        }
        let start = index << 12
        let inBacking = backingBytes > start ? backingBytes &- start : 0
        guard let page = inBacking < pageBytes ? physicalMemory.allocateZeroed() : physicalMemory.allocate() else {
            return nil
        }
        if inBacking != 0 {
            memcpy(page.raw, rawPointer(backing &+ start), UInt(inBacking < pageBytes ? inBacking : pageBytes))
        }
        Frame(number: UInt32(truncatingIfNeeded: slot.pointee)).words[Int(index & 511)] = UInt64(page.number)
        return page
    }

    /// What a private read-only mapping of page `index` puts into its entry (address and `borrowed`), with a reference
    /// taken. An archive page that happens to be page-aligned is mapped as it is; else the page is cached if `create`.
    mutating func mappablePage(_ index: UInt64, create: Bool) -> UInt64? {
        if let page = ownPage(index) {
            physicalMemory.retain(page)
            return page.address.rawValue
        }
        let start = index << 12
        if backing & 4095 == 0 && backingBytes >= start &+ pageBytes {
            return (backing &+ start &- Layout.physicalMap) | PageTableEntry.borrowed
        }
        guard create, let page = makeOwnPage(index) else { return nil }
        physicalMemory.retain(page)
        return page.address.rawValue
    }

    /// Calls `body` with each contiguous piece of [offset, offset + bytes), nil for zeros; stops when it returns false.
    /// The range lies inside the file. Returns the bytes done.
    @inline(__always)
    private func forEachPiece(
        _ offset: UInt64, _ bytes: UInt64, _ body: (UnsafeRawPointer?, _ done: UInt64, _ count: UInt64) -> Bool
    ) -> UInt64 {
        var done: UInt64 = 0
        while done < bytes {
            let at = offset &+ done
            var count = bytes &- done
            let source: UnsafeRawPointer?
            if pages == .none && at < backingBytes {
                source = UnsafeRawPointer(rawPointer(backing &+ at))
                if count > backingBytes &- at { count = backingBytes &- at }
            } else {
                let inPage = pageBytes &- (at & 4095)
                if count > inPage { count = inPage }
                if let page = ownPage(at >> 12) {
                    source = UnsafeRawPointer(page.raw + Int(at & 4095))
                } else if at < backingBytes {
                    source = UnsafeRawPointer(rawPointer(backing &+ at))
                    if count > backingBytes &- at { count = backingBytes &- at }
                } else {
                    source = nil
                }
            }
            if !body(source, done, count) { break }
            done &+= count
        }
        return done
    }

    /// Copies file bytes into kernel memory; what lies beyond the end is left alone.
    func copyOut(_ offset: UInt64, _ destination: UnsafeMutableRawPointer, _ bytes: UInt64) {
        if offset >= size { return }
        let count = bytes < size &- offset ? bytes : size &- offset
        _ = forEachPiece(offset, count) { source, done, count in
            let target = destination + Int(done)
            if let source { memcpy(target, source, UInt(count)) } else { memset(target, 0, UInt(count)) }
            return true
        }
    }

    /// Reads into user memory. Bytes read, or a negative error number.
    func read(_ offset: UInt64, _ buffer: UInt64, _ bytes: UInt64) -> Int {
        if offset >= size || bytes == 0 { return 0 }
        let wanted = bytes < size &- offset ? bytes : size &- offset
        let done = forEachPiece(offset, wanted) { source, done, count in
            let target = buffer &+ done
            if let source { return UserMemory.copyOut(target, source, count) }
            return UserMemory.zero(target, count)
        }
        return done == 0 ? -EFAULT : Int(done)
    }

    /// Writes from user memory, growing the file. Bytes written, or a negative error number.
    mutating func write(_ offset: UInt64, _ buffer: UInt64, _ bytes: UInt64) -> Int {
        if bytes == 0 { return 0 }
        if offset >= Node.maximumBytes { return -EFBIG }
        let wanted = bytes < Node.maximumBytes &- offset ? bytes : Node.maximumBytes &- offset
        var done: UInt64 = 0
        var failure = 0
        while done < wanted {
            let at = offset &+ done
            guard let page = makeOwnPage(at >> 12) else {
                failure = -ENOSPC
                break
            }
            var count = pageBytes &- (at & 4095)
            if count > wanted &- done { count = wanted &- done }
            if !UserMemory.copyIn(page.raw + Int(at & 4095), buffer &+ done, count) {
                failure = -EFAULT
                break
            }
            done &+= count
            if at &+ count > size { size = at &+ count }
        }
        modified = clock.wallNanoseconds
        return done == 0 ? failure : Int(done)
    }

    /// Cuts or extends the file. Pages beyond the end go; the rest of the last page becomes zero.
    mutating func truncate(_ bytes: UInt64) {
        if kind != .file { return }
        if bytes < size {
            if backingBytes > bytes { backingBytes = bytes }
            if pages != .none {
                if bytes & 4095 != 0, let page = ownPage(bytes >> 12) {
                    memset(page.raw + Int(bytes & 4095), 0, UInt(pageBytes &- (bytes & 4095)))
                }
                dropPages(from: pageCeiling(bytes) >> 12)
            }
        }
        if bytes == 0 && pages != .none {
            dropPages(from: 0)
            physicalMemory.release(pages)
            pages = .none
        }
        size = bytes
        modified = clock.wallNanoseconds
    }

    private func dropPages(from first: UInt64) {
        let root = pages.words
        var leafIndex = memory_scan_nonzero(root, first >> 9, 512)
        while leafIndex < 512 {
            let table = Frame(number: UInt32(truncatingIfNeeded: root[Int(leafIndex)]))
            let base = leafIndex << 9
            var index = memory_scan_nonzero(table.words, first > base ? first &- base : 0, 512)
            while index < 512 {
                physicalMemory.release(Frame(number: UInt32(truncatingIfNeeded: table.words[Int(index)])))
                table.words[Int(index)] = 0
                index = memory_scan_nonzero(table.words, index &+ 1, 512)
            }
            if first <= base {
                physicalMemory.release(table)
                root[Int(leafIndex)] = 0
            }
            leafIndex = memory_scan_nonzero(root, leafIndex &+ 1, 512)
        }
    }

    /// Target of a symbolic link.
    var target: UnsafePointer<UInt8> { UnsafePointer(pointer(backing, as: UInt8.self)) }
}
