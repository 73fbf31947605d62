import Foundation

/// `report.json` on disk.
public enum ReportFile {
    /// Pretty-printed JSON with sorted keys and a final newline: stable under `diff`.
    ///
    /// - Throws: `ReportError.notEncodable` for a number that JSON cannot carry.
    public static func encode(_ report: RunReport) throws(ReportError) -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        do {
            return try encoder.encode(report) + Data("\n".utf8)
        } catch let error as EncodingError {
            throw .notEncodable(ReportError.text(error))
        } catch {
            throw .notEncodable(error.localizedDescription)
        }
    }

    /// - Parameter name: the file's name, for messages.
    /// - Throws: a `ReportError` that says what is wrong with the text.
    public static func decode(_ data: Data, name: String) throws(ReportError) -> RunReport {
        struct Version: Decodable { var schemaVersion: Int }
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        if data.isEmpty { throw .notReport(file: name, detail: "the file is empty") }
        do {
            let version = try decoder.decode(Version.self, from: data).schemaVersion
            guard RunReport.readableSchemaVersions.contains(version) else {
                throw ReportError.unknownVersion(file: name, version: version)
            }
            return try decoder.decode(RunReport.self, from: data)
        } catch let error as ReportError {
            throw error
        } catch let error as DecodingError {
            throw .notReport(file: name, detail: ReportError.text(error))
        } catch {
            throw .notReport(file: name, detail: error.localizedDescription)
        }
    }

    /// Reads and checks a report.
    ///
    /// - Throws: `ReportError.unreadable` or what `decode` throws.
    public static func read(_ path: String) throws(ReportError) -> RunReport {
        let data: Data
        do {
            data = try readAll(path)
        } catch {
            throw .unreadable(error)
        }
        return try decode(data, name: path)
    }

    /// Writes a report whole or not at all.
    ///
    /// - Throws: `ReportError.notEncodable` or `.unwritable`.
    public static func write(_ report: RunReport, to path: String) throws(ReportError) {
        let data = try encode(report)
        do {
            try AtomicFile.write(data, to: path)
        } catch {
            throw .unwritable(error)
        }
    }

    /// A report larger than this is refused, so that a device is not read without end.
    private static let maximumBytes = 2 << 30

    private static func readAll(_ path: String) throws(FileError) -> Data {
        guard let file = fopen(path, "rb") else { throw FileError(path: path, action: "read", code: errno) }
        defer { fclose(file) }
        var data = Data()
        var chunk = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = fread(&chunk, 1, chunk.count, file)
            data.append(contentsOf: chunk[..<count])
            if data.count > maximumBytes { throw FileError(path: path, action: "read", code: EFBIG) }
            if count < chunk.count { break }
        }
        if ferror(file) != 0 { throw FileError(path: path, action: "read", code: errno) }
        return data
    }
}

/// A report that could not be read or written.
public enum ReportError: Error, Sendable, Equatable, CustomStringConvertible {
    case unreadable(FileError)
    case unwritable(FileError)
    case notReport(file: String, detail: String)
    case unknownVersion(file: String, version: Int)
    case notEncodable(String)

    public var description: String {
        switch self {
        case .unreadable(let error), .unwritable(let error):
            return error.description
        case .notReport(let file, let detail):
            return "\(file) is not a vbench report: \(detail)"
        case .unknownVersion(let file, let version):
            let known = RunReport.readableSchemaVersions
            return
                "\(file) has schema version \(version), this vbench reads \(known.lowerBound) to \(known.upperBound); "
                + (version > known.upperBound ? "use a newer vbench" : "write it anew with this vbench")
        case .notEncodable(let detail):
            return "the report cannot be written as JSON: \(detail)"
        }
    }

    static func text(_ error: DecodingError) -> String {
        switch error {
        case .keyNotFound(let key, let context):
            return "\(path(context.codingPath)): \"\(key.stringValue)\" is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            var detail = context.debugDescription
            if let underlying = context.underlyingError as NSError?,
                let text = underlying.userInfo[NSDebugDescriptionErrorKey] as? String
            {
                detail += " (\(text))"
            }
            return "\(path(context.codingPath)): \(detail)"
        @unknown default:
            return error.localizedDescription
        }
    }

    static func text(_ error: EncodingError) -> String {
        guard case .invalidValue(let value, let context) = error else { return error.localizedDescription }
        return "\(path(context.codingPath)): \(value)"
    }

    private static func path(_ keys: [any CodingKey]) -> String {
        keys.reduce(into: "$") { text, key in
            text += key.intValue.map { "[\($0)]" } ?? ".\(key.stringValue)"
        }
    }
}
