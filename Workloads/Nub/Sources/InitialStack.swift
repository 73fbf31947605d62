import CPU

/// A vector of strings for a new program: a zero-terminated array of pointers in user memory, or consecutive
/// zero-terminated strings in kernel memory (the job).
struct StringVector {
    private var cursor: UInt64
    private var left: UInt64
    private let isUser: Bool

    init(userPointers address: UInt64) {
        cursor = address
        left = .max
        isUser = true
    }

    /// The caller has made sure that `count` terminated strings are there.
    init(kernelStrings address: UInt64, count: UInt64) {
        cursor = address
        left = count
        isUser = false
    }

    /// The next string: address and bytes with the terminating zero. `bytes` 0 at the end.
    mutating func next() -> (address: UInt64, bytes: UInt64, error: Int) {
        if left == 0 || cursor == 0 { return (0, 0, 0) }
        if !isUser {
            let address = cursor
            let bytes = UInt64(user_string_length(address, 1 << 20)) &+ 1
            cursor &+= bytes
            left &-= 1
            return (address, bytes, 0)
        }
        guard let address = UserMemory.load64(cursor) else { return (0, 0, -EFAULT) }
        cursor &+= 8
        if address == 0 { return (0, 0, 0) }
        if address >= Layout.userEnd { return (0, 0, -EFAULT) }
        let limit = Layout.userEnd &- address < 1 << 17 ? Layout.userEnd &- address : 1 << 17
        let length = user_string_length(address, limit)
        if length < 0 { return (0, 0, -EFAULT) }
        if UInt64(length) == limit { return (0, 0, -E2BIG) }
        return (address, UInt64(length) &+ 1, 0)
    }
}

/// Builds the stack that a program starts with (System V ABI, AMD64 supplement, 3.4.1) in frames of its own, while the
/// memory that the strings come from is still loaded.
struct InitialStack {
    private static let pages: UInt64 = 33
    private static let base = Layout.stackTop - pages * pageBytes
    private static let auxiliaryEntries: UInt64 = 20

    private var frames = InlineArray<33, UInt32>(repeating: 0)
    private(set) var pointer: UInt64 = 0

    /// 0 or a negative error number; on failure `release` gives the frames back.
    mutating func build(
        _ program: LoadedProgram, path: UnsafePointer<UInt8>, pathLength: Int, arguments: StringVector,
        environment: StringVector
    ) -> Int {
        var count: UInt64 = 0
        var bytes: UInt64 = 0
        var error = measure(arguments, &count, &bytes)
        let argumentCount = count
        if error == 0 { error = measure(environment, &count, &bytes) }
        if error != 0 { return error }
        let words = count &+ 3 &+ InitialStack.auxiliaryEntries &* 2
        // Above the strings: path, platform, 16 random bytes, a last word of zero.
        let fixed = UInt64(pathLength) &+ 1 &+ 8 &+ 16 &+ 8
        if bytes &+ words &* 8 &+ fixed &+ 64 > (InitialStack.pages &- 1) &* pageBytes { return -E2BIG }

        var at = (Layout.stackTop &- fixed) & ~15
        let pathAddress = at &+ 24
        var random = (RandomNumbers.next(), RandomNumbers.next())
        let platform: StaticString = "x86_64"
        guard put(at, &random, 16), put(at &+ 16, platform.utf8Start, 7),
            put(pathAddress, path, UInt64(pathLength))
        else { return -ENOMEM }
        let randomAddress = at
        let platformAddress = at &+ 16
        at &-= bytes
        pointer = (at &- words &* 8) & ~15

        var slot = pointer
        guard word(&slot, argumentCount) else { return -ENOMEM }
        error = place(arguments, &slot, &at)
        if error == 0 { error = place(environment, &slot, &at) }
        if error != 0 { return error }
        let auxiliary: [20 of (UInt64, UInt64)] = [
            (3, program.programHeaders),  // AT_PHDR
            (4, 56),  // AT_PHENT
            (5, program.programHeaderCount),  // AT_PHNUM
            (6, pageBytes),  // AT_PAGESZ
            (7, program.interpreterBase),  // AT_BASE
            (8, 0),  // AT_FLAGS
            (9, program.entry),  // AT_ENTRY
            (11, 0),  // AT_UID
            (12, 0),  // AT_EUID
            (13, 0),  // AT_GID
            (14, 0),  // AT_EGID
            (15, platformAddress),  // AT_PLATFORM
            (16, processor.hardwareCapabilities),  // AT_HWCAP
            (17, 100),  // AT_CLKTCK
            (23, 0),  // AT_SECURE
            (25, randomAddress),  // AT_RANDOM
            (26, processor.hasFSGSBase ? 2 : 0),  // AT_HWCAP2
            (31, pathAddress),  // AT_EXECFN
            (51, 4096),  // AT_MINSIGSTKSZ
            (0, 0),
        ]
        for index in 0..<20 {
            guard word(&slot, auxiliary[index].0), word(&slot, auxiliary[index].1) else { return -ENOMEM }
        }
        return 0
    }

    private func measure(_ vector: StringVector, _ count: inout UInt64, _ bytes: inout UInt64) -> Int {
        var vector = vector
        while true {
            let string = vector.next()
            if string.error != 0 { return string.error }
            if string.bytes == 0 { return 0 }
            count &+= 1
            bytes &+= string.bytes
            if bytes &+ count &* 8 > InitialStack.pages &* pageBytes { return -E2BIG }
        }
    }

    /// Copies the strings to `at` upward, their addresses and a zero to `slot`.
    private mutating func place(_ vector: StringVector, _ slot: inout UInt64, _ at: inout UInt64) -> Int {
        var vector = vector
        while true {
            let string = vector.next()
            if string.error != 0 { return string.error }
            if string.bytes == 0 { return word(&slot, 0) ? 0 : -ENOMEM }
            guard word(&slot, at), put(at, rawPointer(string.address), string.bytes) else { return -ENOMEM }
            at &+= string.bytes
        }
    }

    private mutating func word(_ slot: inout UInt64, _ value: UInt64) -> Bool {
        var value = value
        let address = slot
        slot &+= 8
        return put(address, &value, 8)
    }

    private mutating func put(_ address: UInt64, _ source: UnsafeRawPointer, _ bytes: UInt64) -> Bool {
        var done: UInt64 = 0
        while done < bytes {
            let at = address &+ done
            if at < InitialStack.base || at >= Layout.stackTop { return false }
            let index = Int((at &- InitialStack.base) >> 12)
            if frames[index] == 0 {
                guard let frame = physicalMemory.allocateZeroed() else { return false }
                frames[index] = frame.number
            }
            let inPage = at & 4095
            let count = bytes &- done < pageBytes &- inPage ? bytes &- done : pageBytes &- inPage
            let target = addressOf(Frame(number: frames[index]).raw) &+ inPage
            if user_copy(target, addressOf(source) &+ done, count) != 0 { return false }
            done &+= count
        }
        return true
    }

    /// Maps the frames as the top of the new stack. False when RAM is exhausted.
    mutating func install(in space: UnsafeMutablePointer<AddressSpace>) -> Bool {
        let area = MemoryArea(
            start: Layout.stackTop - Layout.stackBytes, end: Layout.stackTop, next: nil, protection: 3,
            isShared: false, node: nil, fileOffset: 0, fileBytes: 0)
        if !space.pointee.insert(area) { return false }
        let flags =
            PageTableEntry.present | PageTableEntry.user | PageTableEntry.writable | PageTableEntry.noExecute
        for index in 0..<33 where frames[index] != 0 {
            guard let entry = space.pointee.entry(at: InitialStack.base &+ UInt64(index) << 12) else { return false }
            space.pointee.set(entry, Frame(number: frames[index]).address.rawValue | flags)
            frames[index] = 0
        }
        return true
    }

    /// Gives back what was not installed.
    mutating func release() {
        for index in 0..<33 where frames[index] != 0 {
            physicalMemory.release(Frame(number: frames[index]))
            frames[index] = 0
        }
    }
}
