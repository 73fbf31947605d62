import Foundation
import Testing

@testable import Lab

@Suite("Commit of the sources")
final class SourceCommitTests {
    private let root = FileManager.default.temporaryDirectory.appending(path: "vbench-test-\(UUID().uuidString)").path
    private let hash = String(repeating: "0123456789", count: 4)

    deinit { try? FileManager.default.removeItem(atPath: root) }

    private func write(_ path: String, _ text: String) throws {
        let url = URL(filePath: root + "/" + path)
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
    }

    @Test("A branch, loose or packed")
    func branch() throws {
        try write(".git/HEAD", "ref: refs/heads/main\n")
        try write(".git/packed-refs", "# pack-refs with: peeled\n\(hash) refs/heads/main\n")
        #expect(SourceCommit.commit(checkout: root) == hash)
        let newer = String(hash.reversed())
        try write(".git/refs/heads/main", newer + "\n")
        #expect(SourceCommit.commit(checkout: root) == newer)
    }

    @Test("A detached HEAD, as CI checks out")
    func detached() throws {
        try write(".git/HEAD", hash + "\n")
        #expect(SourceCommit.commit(checkout: root) == hash)
    }

    @Test("A worktree, whose branches lie in the main checkout")
    func worktree() throws {
        try write("tree/.git", "gitdir: ../main/.git/worktrees/tree\n")
        try write("main/.git/worktrees/tree/HEAD", "ref: refs/heads/topic\n")
        try write("main/.git/worktrees/tree/commondir", "../..\n")
        try write("main/.git/refs/heads/topic", hash + "\n")
        #expect(SourceCommit.commit(checkout: root + "/tree") == hash)
    }

    @Test("No repository, no commit")
    func none() {
        #expect(SourceCommit.commit(checkout: root) == nil)
    }
}
