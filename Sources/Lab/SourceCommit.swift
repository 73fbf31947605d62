import Backends
import FoundationEssentials
import Glibc

/// The commit that this build comes from.
public enum SourceCommit {
    /// HEAD of the checkout that the executable lies in (`.build/release/vbench`), or nil for an installed one. A build
    /// older than the last checkout has an older commit than this says.
    public static let current: String? = {
        guard let executable = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
            return nil
        }
        var folder = executable
        while let slash = folder.lastIndex(of: "/"), slash != folder.startIndex {
            folder = String(folder[..<slash])
            if FileManager.default.fileExists(atPath: folder + "/Package.swift") {
                return commit(checkout: folder)
            }
        }
        return nil
    }()

    /// What HEAD of a checkout points to, read without git, which a host that only runs vbench need not have.
    static func commit(checkout: String) -> String? {
        var folder = checkout + "/.git"
        // In a worktree or a submodule `.git` is a file that says where the real folder is.
        if let pointer = firstLine(of: folder), pointer.hasPrefix("gitdir: ") {
            let target = String(pointer.dropFirst("gitdir: ".count))
            folder = target.hasPrefix("/") ? target : checkout + "/" + target
        }
        guard let head = firstLine(of: folder + "/HEAD") else { return nil }
        guard head.hasPrefix("ref: ") else { return hash(head) }
        let name = String(head.dropFirst("ref: ".count))
        let common = firstLine(of: folder + "/commondir").map { $0.hasPrefix("/") ? $0 : folder + "/" + $0 } ?? folder
        for place in [folder, common] {
            if let commit = firstLine(of: place + "/" + name).flatMap(hash) { return commit }
        }
        return text(of: common + "/packed-refs")?.split(separator: "\n")
            .first { $0.hasSuffix(" " + name) }.flatMap { hash(String($0.prefix { $0 != " " })) }
    }

    private static func hash(_ text: String) -> String? {
        [40, 64].contains(text.utf8.count) && text.allSatisfy(\.isHexDigit) ? text : nil
    }

    private static func firstLine(of path: String) -> String? {
        text(of: path)?.split(separator: "\n").first.map(String.init)
    }

    private static func text(of path: String) -> String? {
        guard let file = try? Descriptor(opening: path, flags: O_RDONLY), let bytes = try? file.readToEnd() else {
            return nil
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
