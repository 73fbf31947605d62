import CPU

/// What to run: from the job file (GuestInterface/Job.swift), else from the words after `--` on the command line.
struct JobDescription {
    var workingDirectory: UnsafePointer<UInt8>
    var workingDirectoryLength: Int
    var program: UnsafePointer<UInt8>
    var programLength: Int
    var arguments: StringVector
    var environment: StringVector

    static func read() -> JobDescription? {
        if let node = fileTree.node(Job.path), node.pointee.kind == .file, node.pointee.backingBytes != 0 {
            return parse(UnsafePointer(pointer(node.pointee.backing, as: UInt8.self)), Int(node.pointee.backingBytes))
        }
        return parseCommandLine()
    }

    /// nil when the file is not what Job.swift describes.
    private static func parse(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> JobDescription? {
        var at = 0
        guard let argumentCount = number(bytes, count, &at), let environmentCount = number(bytes, count, &at),
            argumentCount > 0
        else { return nil }
        let directory = at
        guard let directoryLength = string(bytes, count, &at) else { return nil }
        let first = at
        guard let programLength = string(bytes, count, &at) else { return nil }
        for _ in 1..<argumentCount where string(bytes, count, &at) == nil { return nil }
        let environment = at
        for _ in 0..<environmentCount where string(bytes, count, &at) == nil { return nil }
        return JobDescription(
            workingDirectory: bytes + directory, workingDirectoryLength: directoryLength, program: bytes + first,
            programLength: programLength,
            arguments: StringVector(kernelStrings: addressOf(bytes + first), count: UInt64(argumentCount)),
            environment: StringVector(kernelStrings: addressOf(bytes + environment), count: UInt64(environmentCount)))
    }

    /// Length of the terminated string at `at`, which moves behind it.
    private static func string(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ at: inout Int) -> Int? {
        if at >= count { return nil }
        let left = UInt64(count - at)
        let length = user_string_length(addressOf(bytes + at), left)
        if length < 0 || UInt64(length) == left { return nil }
        at += Int(length) + 1
        return Int(length)
    }

    private static func number(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ at: inout Int) -> Int? {
        let start = at
        guard let length = string(bytes, count, &at), length > 0, length < 6 else { return nil }
        var value = 0
        for index in start..<start + length {
            guard bytes[index] >= 48, bytes[index] <= 57 else { return nil }
            value = value * 10 + Int(bytes[index] - 48)
        }
        return value
    }

    /// Splits at spaces, in place; no quoting. The environment is empty.
    private static func parseCommandLine() -> JobDescription? {
        let line = kernel_command_line_buffer().unsafelyUnwrapped
        let count = bootInformation.commandLineBytes
        var at = 0
        while true {
            if at + 2 >= count { return nil }
            let startsWord = at == 0 || line[at - 1] == 32
            if startsWord, line[at] == 45, line[at + 1] == 45, line[at + 2] == 32 { break }
            at += 1
        }
        at += 3
        // Words move down to lie one behind the other, each with a zero.
        let first = at
        var end = at
        var words: UInt64 = 0
        var firstLength = 0
        while at < count {
            while at < count, line[at] == 32 { at += 1 }
            if at == count { break }
            let start = end
            while at < count, line[at] != 32 {
                line[end] = line[at]
                end += 1
                at += 1
            }
            let next = at < count ? at + 1 : at
            line[end] = 0
            if words == 0 { firstLength = end - start }
            end += 1
            words += 1
            at = next
        }
        if words == 0 { return nil }
        let root: StaticString = "/"
        return JobDescription(
            workingDirectory: root.utf8Start, workingDirectoryLength: 1, program: UnsafePointer(line + first),
            programLength: firstLength, arguments: StringVector(kernelStrings: addressOf(line + first), count: words),
            environment: StringVector(kernelStrings: addressOf(line), count: 0))
    }
}
