import Glibc

/// Private folders for passing files, in `TMPDIR` (else `/tmp`).
public enum TemporaryFolder {
    /// Where temporary files go.
    public static var parent: String {
        guard let variable = getenv("TMPDIR"), variable.pointee != 0 else { return "/tmp" }
        return String(cString: variable)
    }

    /// Makes a folder that only this user can enter; its name begins with `prefix`.
    public static func make(_ prefix: String, in parent: String = parent) throws(SystemError) -> String {
        var template = Array("\(parent)/\(prefix)-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError("create a temporary folder in \(parent)") }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
