import CLinux
import Glibc

/// A program running as a Linux process of this child; killed and reaped with its owner.
///
/// Use from one thread only: the tracer of a stopped process is a thread, and the process dies with it.
struct NativeProcess: ~Copyable {
    let pid: pid_t
    /// Whether it waits at its first instruction for `release()`.
    let stoppedAtEntry: Bool
    private var reaped = false

    /// Why a program could not be started.
    struct LaunchError: Error, CustomStringConvertible {
        var stage: clinux_launch_stage
        var code: Int32
        var description: String {
            let reason = String(cString: strerror(code))
            return switch stage {
            case clinux_stage_fork: "cannot start a process: \(reason)"
            case clinux_stage_affinity: "cannot pin the program to its CPU: \(reason)"
            case clinux_stage_namespace: "cannot enter a user namespace: \(reason)"
            case clinux_stage_root: "cannot change to the program's root folder: \(reason)"
            case clinux_stage_directory: "cannot change to the working directory: \(reason)"
            case clinux_stage_exec: "cannot execute the program: \(reason)"
            default: "cannot set up the program's files: \(reason)"
            }
        }
    }

    /// Starts `program`, stopped at its first instruction where tracing is allowed.
    init(
        program: String, arguments: [String], environment: [String], root: String, workingDirectory: String,
        mode: NativeRoot, input: Int32, output: Int32, error: Int32, cpu: Int?
    ) throws(LaunchError) {
        let result = withCStrings(arguments) { argv in
            withCStrings(environment) { envp in
                program.withCString { program in
                    root.withCString { root in
                        workingDirectory.withCString { directory in
                            var launch = clinux_launch_request(
                                program: program, arguments: argv, environment: envp, root: root,
                                working_directory: directory, root_mode: mode.mode, input: input, output: output,
                                error: error, cpu: Int32(cpu ?? -1), stop_at_entry: true)
                            return clinux_launch(&launch)
                        }
                    }
                }
            }
        }
        guard result.pid > 0 else {
            throw LaunchError(stage: clinux_launch_stage(UInt32(result.stage)), code: result.error)
        }
        pid = result.pid
        stoppedAtEntry = result.stopped
    }

    /// Lets a process stopped at its first instruction run.
    func release() {
        if stoppedAtEntry { _ = clinux_release(pid) }
    }

    func kill() { Glibc.kill(pid, SIGKILL) }

    /// How the process ended, as wait4(2) gives it, and what it and its reaped descendants used.
    mutating func reap() -> (status: Int32, usage: rusage) {
        var status: Int32 = 0
        var usage = rusage()
        while wait4(pid, &status, 0, &usage) < 0 && errno == EINTR {}
        reaped = true
        return (status, usage)
    }

    deinit {
        guard !reaped else { return }
        Glibc.kill(pid, SIGKILL)
        var status: Int32 = 0
        while wait4(pid, &status, 0, nil) < 0 && errno == EINTR {}
    }
}

/// Calls `body` with a null-terminated array of C strings.
private func withCStrings<R>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> R
) -> R {
    let pointers = strings.map { strdup($0) } + [nil]
    defer { pointers.forEach { free($0) } }
    return pointers.withUnsafeBufferPointer { body($0.baseAddress!) }
}
