/// The version of this program.
public enum VBenchVersion {
    /// Semantic version, as `vbench --version` and reports show it.
    public static let current = "0.1.0"
}
