/// The files of a guest's tree by path, with symbolic links followed as the guest's kernel follows them.
public struct GuestTree {
    private var entries: [String: GuestFile] = [:]

    /// Of two files at one path the first counts.
    public init(_ files: [GuestFile]) {
        for file in files { add(file) }
    }

    public mutating func add(_ file: GuestFile) {
        if entries[file.guestPath] == nil { entries[file.guestPath] = file }
    }

    /// Those of `files` whose places are free, moved to where links of this tree lead; with these it is whole.
    public func completed(with files: [GuestFile]) -> [GuestFile] {
        files.compactMap { file in
            guard let place = resolved(file.guestPath, followsLast: false), entries[place] == nil else { return nil }
            var moved = file
            moved.guestPath = place
            return moved
        }
    }

    /// The file or folder that an absolute path leads to; nil when there is none, or links lead in circles.
    public func entry(at path: String) -> GuestFile? { entries[resolved(path) ?? ""] }

    /// The path with every link in it followed, whether anything is there or not; nil when links lead in circles.
    public func resolved(_ path: String, followsLast: Bool = true) -> String? {
        // As many links as Linux follows (path_resolution(7)).
        var links = 40
        var done = ""
        var rest = path.split(separator: "/").map(String.init)[...]
        while let part = rest.popFirst() {
            if part == "." { continue }
            if part == ".." {
                done = GuestPath.folder(of: done)
                if done == "/" { done = "" }
                continue
            }
            let next = done + "/" + part
            if case .symbolicLink(let target)? = entries[next]?.kind, followsLast || !rest.isEmpty {
                guard links > 0 else { return nil }
                links -= 1
                if target.hasPrefix("/") { done = "" }
                rest = (target.split(separator: "/").map(String.init) + rest)[...]
            } else {
                done = next
            }
        }
        return done.isEmpty ? "/" : done
    }
}

/// Paths of the guest's tree, as text.
public enum GuestPath {
    /// Where a link at `link` leads whose target is `target`: absolute, without `.`, `..` and doubled slashes.
    public static func resolve(_ target: String, from link: String) -> String {
        var parts: [Substring] = []
        let whole = target.hasPrefix("/") ? target : folder(of: link) + "/" + target
        for part in whole.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }

    /// The folder that holds `path`; the root's own is the root.
    public static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
        return String(path[..<slash])
    }
}
