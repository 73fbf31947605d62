/// Finds what a person meant by a word that is not known.
public enum Spelling {
    /// The candidate nearest to `word`, if one is near: at most a third of the letters differ.
    static func nearest(to word: String, in candidates: [String]) -> String? {
        let limit = max(1, word.count / 3)
        let folded = word.lowercased()
        var best: (distance: Int, candidate: String)?
        for candidate in candidates {
            let other = candidate.lowercased()
            var distance = editDistance(folded, other)
            // "memoryBytes" for "memory", "limit" for "timeLimit".
            if distance > limit, min(folded.count, other.count) >= 4, folded.contains(other) || other.contains(folded) {
                distance = limit
            }
            if distance <= limit, distance < best?.distance ?? .max { best = (distance, candidate) }
        }
        return best?.candidate
    }

    /// `did you mean "trials"?`, or the list of what is possible.
    public static func suggestion(for word: String, among candidates: [String]) -> String? {
        if let near = nearest(to: word, in: candidates) { return "did you mean \"\(near)\"?" }
        if candidates.isEmpty { return nil }
        return "possible: " + candidates.joined(separator: ", ")
    }

    /// Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours.
    static func editDistance(_ a: String, _ b: String) -> Int {
        let a = Array(a)
        let b = Array(b)
        var beforeLast: [Int] = []
        var last = Array(0...b.count)
        for i in 0..<a.count {
            var row = [i + 1]
            for j in 0..<b.count {
                var cost = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforeLast[j - 1] + 1) }
                row.append(cost)
            }
            (beforeLast, last) = (last, row)
        }
        return last[b.count]
    }
}
