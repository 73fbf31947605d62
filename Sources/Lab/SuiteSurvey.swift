import Backends
import Glibc
import Results
import Suite

/// The suite as reports carry it.
public enum SuiteSurvey {
    /// - Parameter path: the suite file, for its name and digest.
    public static func record(_ suite: Suite, path: String) throws -> SuiteRecord {
        var digest = OutputDigestBuilder()
        let file = try Descriptor(opening: path, flags: O_RDONLY)
        while let bytes = try file.read(upTo: 1 << 16), !bytes.isEmpty {
            bytes.withUnsafeBytes { digest.append($0) }
        }
        return SuiteRecord(
            name: suite.name, path: path, sha256: digest.digest().sha256, resolved: try JSON(encoding: suite))
    }
}
