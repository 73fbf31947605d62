import Backends
import Glibc
import Results
import Suite

/// The suite as reports carry it.
public enum SuiteSurvey {
    /// - Parameter path: the suite file, for its name and digest.
    public static func record(_ suite: Suite, path: String) throws -> SuiteRecord {
        let digest = try digest(of: path)
        var record = SuiteRecord(
            name: suite.name, path: path, sha256: digest.sha256, resolved: try JSON(encoding: suite))
        record.hostPrograms = (suite.workloads + suite.aggressors).compactMap(hostProgram)
        return record
    }

    /// The files that a workload's program of the host is packed with.
    private static func hostProgram(_ workload: Workload) -> HostProgramRecord? {
        guard case .host(let path) = workload.program else { return nil }
        do {
            let environment = workload.environment.map { "\($0.key)=\($0.value)" }
            let pack = try ProgramPack(host: path, guest: path, environment: environment)
            let files = try pack.files.filter { $0.kind == .file }.map { file in
                let digest = try digest(of: file.hostPath)
                return HostProgramRecord.File(path: file.hostPath, bytes: digest.bytes, sha256: digest.sha256)
            }
            return HostProgramRecord(workload: workload.name, program: path, files: files)
        } catch {
            return HostProgramRecord(workload: workload.name, program: path, files: [], unavailable: "\(error)")
        }
    }

    private static func digest(of path: String) throws -> OutputDigest {
        var digest = OutputDigestBuilder()
        let file = try Descriptor(opening: path, flags: O_RDONLY)
        while let bytes = try file.read(upTo: 1 << 16), !bytes.isEmpty {
            bytes.withUnsafeBytes { digest.append($0) }
        }
        return digest.digest()
    }
}
