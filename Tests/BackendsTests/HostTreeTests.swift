import Backends
import Foundation
import Testing

@Suite("Folders of the host")
struct HostTreeTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test("come with what is below them: files, empty folders, links as links, permissions")
    func wholeFolder() throws {
        let root = folder.url.path + "/root"
        try FileManager.default.createDirectory(atPath: root + "/sub/empty", withIntermediateDirectories: true)
        try Data("x".utf8).write(to: URL(filePath: root + "/sub/file"))
        chmod(root + "/sub/file", 0o750)
        chmod(root + "/sub/empty", 0o700)
        symlink("../elsewhere", root + "/sub/link")
        symlink("/nowhere", root + "/absolute")
        let entries = try HostTree.entries(host: root, guest: "/data")
        #expect(
            entries.map(\.guestPath) == [
                "/data", "/data/absolute", "/data/sub", "/data/sub/empty", "/data/sub/file", "/data/sub/link",
            ])
        #expect(
            entries.map(\.kind) == [
                .folder, .symbolicLink(target: "/nowhere"), .folder, .folder, .file,
                .symbolicLink(target: "../elsewhere"),
            ])
        #expect(entries[4].mode == 0o750)
        #expect(entries[3].mode == 0o700)
    }

    @Test("can be the guest's root, and be reached by a link")
    func linkedRoot() throws {
        try FileManager.default.createDirectory(atPath: folder.url.path + "/real", withIntermediateDirectories: true)
        try Data("x".utf8).write(to: URL(filePath: folder.url.path + "/real/file"))
        symlink("real", folder.url.path + "/link")
        let entries = try HostTree.entries(host: folder.url.path + "/link", guest: "/")
        #expect(entries.map(\.guestPath) == ["/", "/file"])
        #expect(entries[0].kind == .folder)
    }

    @Test("with what is no file, folder or link are refused, and the message says which it is")
    func specialFiles() throws {
        mkfifo(folder.url.path + "/pipe", 0o644)
        #expect(throws: HostTreeError.special(path: folder.url.path + "/pipe", what: "a named pipe")) {
            try HostTree.entries(host: folder.url.path, guest: "/data")
        }
        #expect(throws: HostTreeError.special(path: "/dev/null", what: "a device")) {
            try HostTree.entries(host: "/dev/null", guest: "/data")
        }
        #expect(throws: HostTreeError.missing(path: folder.url.path + "/none")) {
            try HostTree.entries(host: folder.url.path + "/none", guest: "/data")
        }
    }

    @Test(
        "links lead where Linux has them lead",
        arguments: [
            ("target", "/a/link", "/a/target"), ("../b", "/a/c/link", "/a/b"), ("/x//y/./z", "/link", "/x/y/z"),
            ("../../../up", "/a/link", "/up"), (".", "/a/b/link", "/a/b"),
        ])
    func linkTargets(target: String, link: String, leadsTo: String) {
        #expect(GuestPath.resolve(target, from: link) == leadsTo)
    }
}
