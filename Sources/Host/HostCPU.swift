import CLinux

/// The CPU of this host.
public enum HostCPU {
    /// Whether Linux runs in a VM itself (CPUID leaf 1 ECX bit 31, reserved for hypervisors by Intel and AMD).
    public static var isVirtual: Bool { clinux_cpuid(1, 0).ecx & 1 << 31 != 0 }

    /// The hypervisor's signature (CPUID leaf 0x40000000), nil on bare metal.
    public static var hypervisor: String? {
        guard isVirtual else { return nil }
        let leaf = clinux_cpuid(0x4000_0000, 0)
        let name = text([leaf.ebx, leaf.ecx, leaf.edx])
        return name.isEmpty ? "unnamed" : name
    }

    /// Vendor string (CPUID leaf 0).
    public static var vendor: String {
        let leaf = clinux_cpuid(0, 0)
        return text([leaf.ebx, leaf.edx, leaf.ecx])
    }

    /// A `key : value` line of the first CPU in /proc/cpuinfo.
    static func information(_ key: String) -> String? {
        for line in (HostFile.text("/proc/cpuinfo") ?? "").split(separator: "\n", omittingEmptySubsequences: false) {
            if line.isEmpty { return nil }
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0].trimmed == key else { continue }
            return String(parts[1].trimmed)
        }
        return nil
    }

    /// Features the kernel offers, by the kernel's names.
    public static let flags = Set((information("flags") ?? "").split(separator: " ").map(String.init))

    /// The words' bytes as text, up to the first zero, without surrounding blanks.
    private static func text(_ words: [UInt32]) -> String {
        let bytes = words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
        return String(Substring(String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)).trimmed)
    }
}

extension Substring {
    /// Without blanks and tabs at either end.
    var trimmed: Substring {
        var text = self
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }
}
