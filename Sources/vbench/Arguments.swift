import ArgumentParser
import Backends
import Glibc

extension BackendName: ExpressibleByArgument {}
extension TraceRequest.Kind: ExpressibleByArgument {}

/// A size on the command line: `268435456`, `256MiB`, `1GiB`.
struct ByteCount: ExpressibleByArgument {
    var bytes: UInt64

    init(bytes: UInt64) { self.bytes = bytes }

    init?(argument: String) {
        let units: [(String, UInt64)] = [
            ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("B", 1), ("", 1),
        ]
        for (suffix, factor) in units where argument.hasSuffix(suffix) {
            guard let number = UInt64(argument.dropLast(suffix.count)), number > 0 else { return nil }
            let (bytes, overflow) = number.multipliedReportingOverflow(by: factor)
            guard !overflow else { return nil }
            self.bytes = bytes
            return
        }
        return nil
    }

    var defaultValueDescription: String { "\(bytes >> 20)MiB" }
}

/// `HOST:GUEST`: a host file at a path in the guest's tree.
struct FileMapping: ExpressibleByArgument {
    var host: String
    var guest: String

    init?(argument: String) {
        // The guest path is absolute, so the last ":/" separates: host paths may hold colons.
        guard let separator = argument.range(ofLast: ":/") else { return nil }
        host = String(argument[..<separator])
        guest = String(argument[argument.index(after: separator)...])
        guard !host.isEmpty, guest.count > 1 else { return nil }
    }
}

/// `HOSTFOLDER[:/GUEST/PATH]`; the guest's root where no path is given.
struct TreeMapping: ExpressibleByArgument {
    var host: String
    var guest: String

    init?(argument: String) {
        let separator = argument.range(ofLast: ":/")
        host = separator.map { String(argument[..<$0]) } ?? argument
        guest = separator.map { String(argument[argument.index(after: $0)...]) } ?? "/"
        guard !host.isEmpty else { return nil }
    }
}

/// `NAME=VALUE`, or `NAME` for the value that it has in vbench's own environment (empty where it has none).
struct EnvironmentVariable: ExpressibleByArgument {
    var name: String
    var value: String

    init?(argument: String) {
        if let given = Assignment(argument: argument) {
            (name, value) = (given.name, given.value)
            return
        }
        guard !argument.isEmpty, !argument.contains("=") else { return nil }
        name = argument
        value = getenv(argument).map { String(cString: $0) } ?? ""
    }
}

/// `NAME=VALUE`.
struct Assignment: ExpressibleByArgument {
    var name: String
    var value: String

    init?(argument: String) {
        guard let equals = argument.firstIndex(of: "="), equals != argument.startIndex else { return nil }
        name = String(argument[..<equals])
        value = String(argument[argument.index(after: equals)...])
    }
}

extension String {
    /// Where the last occurrence of a two-character string begins.
    fileprivate func range(ofLast pair: String) -> String.Index? {
        var index = endIndex
        while index > startIndex {
            index = self.index(before: index)
            if self[index...].hasPrefix(pair) { return index }
        }
        return nil
    }
}
