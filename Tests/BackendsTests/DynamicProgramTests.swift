import Backends
import Foundation
import Results
import Testing

/// A program of the host as people have them: with a dynamic linker, libm, and a library of its own beside it.
@Suite("Dynamically linked programs natively and in guests", .serialized)
struct DynamicProgramTests {
    private static let source = """
        #include <errno.h>
        #include <math.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        int answer(void);
        int main(int count, char **arguments) {
            char line[64] = "";
            if (count > 1 && strcmp(arguments[1], "abort") == 0) abort();
            if (count > 1 && strcmp(arguments[1], "lack") == 0) return syscall(SYS_bpf, 0, 0, 0) == -1 && errno == ENOSYS;
            volatile double x = atof(count > 1 ? arguments[1] : "2");
            printf("%.15g %.15g %d\\n", sin(x), pow(x, 0.3), answer());
            printf("%s %s\\n", getenv("GREETING"), fgets(line, sizeof line, stdin) ? line : "no input");
            ssize_t length = readlink("/proc/self/exe", line, sizeof line - 1);
            printf("%.*s\\n", (int)length, line);
            return 42;
        }
        """

    /// The program, packed; made once.
    private static let made = Result { () throws -> (workshop: Workshop, files: [GuestFile]) in
        let workshop = try Workshop()
        try workshop.library("lib/libanswer.so", value: 7)
        let program = try workshop.compile(
            "bin/program", source, ["-Llib", "-lanswer", "-lm", "-Wl,-rpath,$ORIGIN/../lib"])
        // A guest path of its own, with the library where $ORIGIN says.
        let pack = try ProgramPack(host: program, guest: "/opt/bin/program", environment: [])
        let files = pack.files.map { file in
            var moved = file
            if file.hostPath.hasSuffix("libanswer.so") { moved.guestPath = "/opt/lib/libanswer.so" }
            return moved
        }
        return (workshop, files)
    }

    private func specification(_ arguments: String...) throws -> TrialSpecification {
        var specification = TrialSpecification(
            arguments: ["/opt/bin/program"] + arguments, files: try Self.made.get().files)
        specification.environment = ["GREETING=hello"]
        specification.memoryBytes = 64 << 20
        return specification
    }

    @Test("arguments, environment, standard input, output and exit code are the same", arguments: TrialRunner.guests)
    func same(guest: BackendName) throws {
        var specification = try specification("0.75")
        let input = try Self.made.get().workshop.folder.file("input", Array("some text\n".utf8))
        specification.files.append(GuestFile(hostPath: input, guestPath: "/.vbench/stdin"))
        let (native, found) = try TrialRunner.expectSame(as: guest, specification)
        #expect(native.status == .exited(code: 42))
        #expect(native.standardOutput.head.hasSuffix(" 7\nhello some text\n\n/opt/bin/program\n"))
        #expect(found.unknownSystemCalls == [:])
    }

    @Test("a signal is passed on", arguments: TrialRunner.guests)
    func signal(guest: BackendName) throws {
        let (native, _) = try TrialRunner.expectSame(as: guest, specification("abort"))
        #expect(native.status == .signaled(signal: SIGABRT))
    }

    @Test("system calls that the guest's kernel lacks are named")
    func missingCalls() throws {
        let result = try TrialRunner.run(.software, specification("lack"))
        #expect(result.status == .exited(code: 1))
        #expect(result.missingSystemCalls?.hasSuffix("lacks system calls that the program made: bpf") == true)
    }

    @Test("without their dynamic linker in the tree are refused, and the message says what to do")
    func noLinker() throws {
        var specification = try specification()
        specification.files.removeAll { $0.guestPath.contains("ld-linux") }
        for backend in TrialRunner.backends where backend != .native {
            let failure = try TrialRunner.run(backend, specification).failure()
            #expect(failure.kind == .invalid)
            #expect(failure.message.contains("dynamic linker /lib"))
        }
    }

    @Test("are run through links of the tree that lead to them")
    func links() throws {
        var specification = try specification("1")
        specification.files.append(
            GuestFile(hostPath: "/", guestPath: "/usr/prog", kind: .symbolicLink(target: "../opt/bin"), mode: 0o777))
        specification.arguments[0] = "/usr/prog/program"
        let (native, _) = try TrialRunner.expectSame(as: .software, specification)
        #expect(native.status == .exited(code: 42))
    }
}
