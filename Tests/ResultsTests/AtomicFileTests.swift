import Foundation
import Testing

@testable import Results

struct AtomicFileTests {
    /// A folder of its own for each test.
    private func withFolder(_ body: (URL) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "vbench-results-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder)
    }

    private func names(_ folder: URL) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    }

    @Test func writesAndReplaces() throws {
        try withFolder { folder in
            let path = folder.appending(path: "a.txt").path
            try AtomicFile.write("one", to: path)
            try AtomicFile.write("two", to: path)
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "two")
            #expect(try names(folder) == ["a.txt"])
        }
    }

    @Test func aMissingFolderIsNamed() throws {
        let error = #expect(throws: FileError.self) { try AtomicFile.write("x", to: "/nowhere/at/all.txt") }
        #expect(
            error?.description
                == "cannot write /nowhere/at/all.txt: No such file or directory; the folder does not exist: create it first"
        )
    }

    @Test func aFolderIsNoFile() throws {
        let error = #expect(throws: FileError.self) { try AtomicFile.write("x", to: "/tmp") }
        #expect(error?.code == EISDIR)
    }

    @Test func aFileOnTheWayIsNoFolder() throws {
        try withFolder { folder in
            let path = folder.appending(path: "a.txt").path
            try AtomicFile.write("one", to: path)
            let error = #expect(throws: FileError.self) { try AtomicFile.write("x", to: path + "/b.txt") }
            #expect(error?.code == ENOTDIR)
        }
    }

    /// `/dev/full` answers every write as a full disk does.
    @Test func aFullDiskIsSaid() throws {
        let error = #expect(throws: FileError.self) { try AtomicFile.write("x", to: "/dev/full") }
        #expect(
            error?.description
                == "cannot write /dev/full: No space left on device; the disk is full: free some space, or write elsewhere"
        )
    }

    /// A disk that fills up half-way: what was there stays, nothing is left over.
    @Test func aFailedWriteLeavesNothingBehind() throws {
        try withFolder { folder in
            let path = folder.appending(path: "a.txt").path
            try AtomicFile.write("whole", to: path)
            var room = 1000
            let error = #expect(throws: FileError.self) {
                try AtomicFile.write(Data(count: 5000), to: path) { descriptor, bytes, count in
                    guard room > 0 else {
                        errno = ENOSPC
                        return -1
                    }
                    room -= 500
                    return write(descriptor, bytes, min(count, 500))
                }
            }
            #expect(error == FileError(path: path, action: "write", code: ENOSPC))
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "whole")
            #expect(try names(folder) == ["a.txt"])
        }
    }

    /// A short or interrupted write is no failure.
    @Test func shortAndInterruptedWritesGoOn() throws {
        try withFolder { folder in
            let path = folder.appending(path: "a.txt").path
            var calls = 0
            try AtomicFile.write(Data("0123456789".utf8), to: path) { descriptor, bytes, count in
                calls += 1
                if calls.isMultiple(of: 2) {
                    errno = EINTR
                    return -1
                }
                return write(descriptor, bytes, min(count, 3))
            }
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "0123456789")
            #expect(calls == 7)
        }
    }
}
