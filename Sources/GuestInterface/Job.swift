/// The job file: what the guest kernel runs, at `Job.path` in its file tree.
///
/// Zero-terminated UTF-8 strings, in order: argument count, environment count, working directory, the arguments
/// (argument 0 is the path of the program in the file tree), the environment entries `NAME=value`.
/// Without a job file the kernel runs the words after `--` on its command line.
public enum Job {
    public static let path: StaticString = "/.vbench/job"
    /// Standard input of the program, when present in the file tree; otherwise it reads end-of-file.
    public static let standardInputPath: StaticString = "/.vbench/stdin"
    /// Device that programs write their records to, in the guest. Natively the environment variable
    /// `VBENCH_RECORDS` names the file or pipe to open; in the guest it names this path.
    public static let recordsPath: StaticString = "/dev/vbench"
    public static let recordsVariable: StaticString = "VBENCH_RECORDS"
}
