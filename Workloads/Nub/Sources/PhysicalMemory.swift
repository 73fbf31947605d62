import CPU

/// RAM by 4 KiB frames, with reference counts. Allocation and release are O(1) and touch nothing but the frame's entry:
/// memory that was never used is taken from the front of the free ranges, released frames from a list.
struct PhysicalMemory {
    /// What is known of one frame. `link` is the next free frame, or the number of entries in use of a page table.
    struct Entry {
        var references: UInt32
        var link: UInt32
    }

    struct Range {
        var start: UInt64 = 0
        var end: UInt64 = 0
    }

    private var entries: UInt64 = 0
    private var firstFree: UInt32 = 0
    /// Released page tables: free, and known to be all zeros.
    private var firstZeroed: UInt32 = 0
    private var next: UInt64 = 0
    private var nextEnd: UInt64 = 0
    private var ranges: InlineArray<8, Range> = [
        Range(), Range(), Range(), Range(), Range(), Range(), Range(), Range(),
    ]
    private var rangeCount = 0
    private var rangeIndex = 0
    private(set) var framesInUse: UInt64 = 0
    private(set) var peakFrames: UInt64 = 0
    private(set) var totalFrames: UInt64 = 0

    /// Adds [start, end) less what is reserved; called at boot for each range of RAM in ascending order.
    mutating func addRAM(_ start: UInt64, _ end: UInt64, reserved: ReservedRanges) {
        var at = pageCeiling(start)
        let limit = pageFloor(end)
        while at < limit {
            let (stop, resume) = reserved.nextObstacle(from: at, limit: limit)
            if stop > at && rangeCount < 8 {
                ranges[rangeCount] = Range(start: at, end: stop)
                rangeCount += 1
                totalFrames &+= (stop &- at) >> 12
            }
            at = resume
        }
    }

    /// Takes the memory for the frame entries out of the first range that holds it. `highest` is the end of RAM.
    mutating func start(highest: UInt64) -> Bool {
        let bytes = pageCeiling((highest >> 12) &* 8)
        for index in 0..<rangeCount where ranges[index].end &- ranges[index].start > bytes {
            entries = PhysicalAddress(ranges[index].start).linear
            ranges[index].start &+= bytes
            totalFrames &-= bytes >> 12
            next = ranges[0].start
            nextEnd = ranges[0].end
            return true
        }
        return false
    }

    @inline(__always)
    private func entry(_ frame: Frame) -> UnsafeMutablePointer<Entry> { pointer(entries &+ UInt64(frame.number) &* 8) }

    /// A frame with one reference and unknown contents, or nil when RAM is exhausted.
    @inline(__always)
    mutating func allocate() -> Frame? {
        let frame: Frame
        if firstFree != 0 {
            frame = Frame(number: firstFree)
            firstFree = entry(frame).pointee.link
        } else if next < nextEnd || nextRange() {
            frame = Frame(containing: PhysicalAddress(next))
            next &+= pageBytes
        } else if firstZeroed != 0 {
            return takeZeroed()
        } else {
            return nil
        }
        return take(frame)
    }

    /// A frame that nothing has touched since the machine was started, or nil.
    mutating func allocateUntouched() -> Frame? {
        guard next < nextEnd || nextRange() else { return nil }
        let frame = Frame(containing: PhysicalAddress(next))
        next &+= pageBytes
        return take(frame)
    }

    /// Frames that `allocateUntouched` can give without going to another range.
    var untouchedFrames: UInt64 { (nextEnd &- next) >> 12 }

    @inline(__always)
    private mutating func take(_ frame: Frame) -> Frame {
        entry(frame).pointee = Entry(references: 1, link: 0)
        framesInUse &+= 1
        if framesInUse > peakFrames { peakFrames = framesInUse }
        return frame
    }

    @inline(__always)
    private mutating func takeZeroed() -> Frame {
        let frame = Frame(number: firstZeroed)
        firstZeroed = entry(frame).pointee.link
        return take(frame)
    }

    /// A page table: zeroed. Tables are empty when they are released, so those that come back need no zeroing.
    mutating func allocateTable() -> Frame? {
        firstZeroed != 0 ? takeZeroed() : allocateZeroed()
    }

    mutating func releaseTable(_ frame: Frame) {
        entry(frame).pointee = Entry(references: 0, link: firstZeroed)
        firstZeroed = frame.number
        framesInUse &-= 1
    }

    @inline(__always)
    mutating func allocateZeroed() -> Frame? {
        guard let frame = allocate() else { return nil }
        memory_zero_page(frame.raw)
        return frame
    }

    @inline(never)
    private mutating func nextRange() -> Bool {
        while rangeIndex &+ 1 < rangeCount {
            rangeIndex &+= 1
            next = ranges[rangeIndex].start
            nextEnd = ranges[rangeIndex].end
            if next < nextEnd { return true }
        }
        return false
    }

    @inline(__always)
    mutating func retain(_ frame: Frame) { entry(frame).pointee.references &+= 1 }

    @inline(__always)
    mutating func release(_ frame: Frame) {
        let entry = entry(frame)
        entry.pointee.references &-= 1
        if entry.pointee.references == 0 {
            entry.pointee.link = firstFree
            firstFree = frame.number
            framesInUse &-= 1
        }
    }

    @inline(__always)
    func references(_ frame: Frame) -> UInt32 { entry(frame).pointee.references }

    /// Entries in use of the page table in `frame`.
    @inline(__always)
    func liveEntries(_ frame: Frame) -> UInt32 { entry(frame).pointee.link }

    @inline(__always)
    func addLiveEntries(_ count: Int32, to frame: Frame) {
        let entry = entry(frame)
        entry.pointee.link = UInt32(truncatingIfNeeded: Int64(entry.pointee.link) &+ Int64(count))
    }

    var freeFrames: UInt64 { totalFrames &- framesInUse }
}

/// RAM that must not be handed out: at most eight ranges, in any order.
struct ReservedRanges {
    private var ranges: InlineArray<8, PhysicalMemory.Range> = [
        .init(), .init(), .init(), .init(), .init(), .init(), .init(), .init(),
    ]
    private var count = 0

    mutating func add(_ start: UInt64, _ end: UInt64) {
        guard start < end, count < 8 else { return }
        ranges[count] = PhysicalMemory.Range(start: pageFloor(start), end: pageCeiling(end))
        count += 1
    }

    /// Where free memory from `at` ends, and where to look on.
    func nextObstacle(from at: UInt64, limit: UInt64) -> (stop: UInt64, resume: UInt64) {
        var stop = limit
        var resume = limit
        for index in 0..<count {
            let range = ranges[index]
            if range.end > at && range.start < stop {
                stop = range.start > at ? range.start : at
                resume = range.end
            }
        }
        return (stop, resume)
    }
}

nonisolated(unsafe) var physicalMemory = PhysicalMemory()
