import Support

/// The program's command line. Options are `--name value` or `--name=value`; what no one asked for is an error.
struct Arguments {
    private let values: UnsafePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int
    private var used: [Bool]
    /// Rounds of each phase, for workloads that have to plan.
    var rounds: UInt64 = 0

    init(count: Int32, values: UnsafePointer<UnsafeMutablePointer<CChar>?>) {
        self.values = values
        self.count = Int(count)
        used = [Bool](repeating: false, count: Int(count))
    }

    mutating func flag(_ name: StaticString) -> Bool {
        for index in 1..<max(1, count) where !used[index] {
            guard let argument = values[index], strcmp(argument, name.cString) == 0 else { continue }
            used[index] = true
            return true
        }
        return false
    }

    /// A whole number with an optional binary suffix K, M or G.
    mutating func number(_ name: StaticString, default: UInt64, in range: ClosedRange<UInt64>) -> UInt64 {
        guard let text = value(name) else { return `default` }
        var next = UnsafePointer(text)
        guard let number = Self.parseNumber(&next), next.pointee == 0, range.contains(number) else {
            reject(name, text, range)
        }
        return number
    }

    /// Numbers separated by commas.
    mutating func numbers(_ name: StaticString, default: [UInt64], in range: ClosedRange<UInt64>) -> [UInt64] {
        guard let text = value(name) else { return `default` }
        var result: [UInt64] = []
        var next = UnsafePointer(text)
        while true {
            guard let number = Self.parseNumber(&next), range.contains(number) else { reject(name, text, range) }
            result.append(number)
            if next.pointee == 0 { return result }
            guard next.pointee == CChar(UInt8(ascii: ",")) else { reject(name, text, range) }
            next += 1
        }
    }

    /// Names separated by commas, as indices into `choices` in the order given; nil when the option is not there.
    mutating func choices(_ name: StaticString, _ choices: [StaticString]) -> [Int]? {
        guard let text = value(name) else { return nil }
        var result: [Int] = []
        var word = UnsafePointer(text)
        while true {
            var length = 0
            while word[length] != 0, word[length] != CChar(UInt8(ascii: ",")) { length += 1 }
            let found = choices.firstIndex { $0.utf8CodeUnitCount == length && strncmp(word, $0.cString, length) == 0 }
            guard let found else { rejectChoice(name, choices, oneOrMore: true) }
            if !result.contains(found) { result.append(found) }
            if word[length] == 0 { return result }
            word += length + 1
        }
    }

    /// One of `choices`; the first is the default.
    mutating func choice(_ name: StaticString, _ choices: [StaticString]) -> Int {
        guard let text = value(name) else { return 0 }
        for (index, choice) in choices.enumerated() where strcmp(text, choice.cString) == 0 { return index }
        rejectChoice(name, choices, oneOrMore: false)
    }

    private func rejectChoice(_ name: StaticString, _ choices: [StaticString], oneOrMore: Bool) -> Never {
        var message = Text()
        message.append(name)
        message.append(oneOrMore ? " takes one or more, separated by commas, of" : " takes one of")
        for choice in choices {
            message.append(" ")
            message.append(choice)
        }
        usageError(message)
    }

    /// A path, or any other text.
    mutating func path(_ name: StaticString, default: StaticString) -> Text {
        var text = Text()
        if let given = value(name) { text.append(cString: given) } else { text.append(`default`) }
        return text
    }

    /// Ends the program when an argument was not asked for.
    func rejectUnused() {
        for index in 1..<max(1, count) where !used[index] {
            guard let argument = values[index] else { continue }
            var message = Text()
            message.append("unknown argument '")
            message.append(cString: argument)
            message.append("': see --help")
            usageError(message)
        }
    }

    private mutating func value(_ name: StaticString) -> UnsafeMutablePointer<CChar>? {
        let length = name.utf8CodeUnitCount
        for index in 1..<max(1, count) where !used[index] {
            guard let argument = values[index], strncmp(argument, name.cString, length) == 0 else { continue }
            if argument[length] == CChar(UInt8(ascii: "=")) {
                used[index] = true
                return argument + length + 1
            }
            guard argument[length] == 0 else { continue }
            guard index + 1 < count, let value = values[index + 1] else {
                var message = Text()
                message.append(name)
                message.append(" needs a value")
                usageError(message)
            }
            used[index] = true
            used[index + 1] = true
            return value
        }
        return nil
    }

    private static func parseNumber(_ next: inout UnsafePointer<CChar>) -> UInt64? {
        var number: UInt64 = 0
        var digits = 0
        while let digit = digit(next.pointee) {
            let (scaled, overflow) = number.multipliedReportingOverflow(by: 10)
            guard !overflow else { return nil }
            let (sum, carry) = scaled.addingReportingOverflow(digit)
            guard !carry else { return nil }
            number = sum
            digits += 1
            next += 1
        }
        guard digits > 0 else { return nil }
        let shift: UInt64
        switch UInt8(bitPattern: next.pointee) {
        case UInt8(ascii: "K"): shift = 10
        case UInt8(ascii: "M"): shift = 20
        case UInt8(ascii: "G"): shift = 30
        default: return number
        }
        next += 1
        let scaled = number << shift
        return scaled >> shift == number ? scaled : nil
    }

    private static func digit(_ character: CChar) -> UInt64? {
        let byte = UInt8(bitPattern: character)
        return byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") ? UInt64(byte - UInt8(ascii: "0")) : nil
    }

    private func reject(_ name: StaticString, _ text: UnsafeMutablePointer<CChar>, _ range: ClosedRange<UInt64>)
        -> Never
    {
        var message = Text()
        message.append(name)
        message.append(" takes whole numbers (suffixes K, M, G) from ")
        message.append(range.lowerBound)
        message.append(" to ")
        message.append(range.upperBound)
        message.append(", not '")
        message.append(cString: text)
        message.append("'")
        usageError(message)
    }
}

extension StaticString {
    /// The text as a C string: literals end with a zero byte.
    var cString: UnsafePointer<CChar> { UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self) }
}
