import CTesting
import Glibc
import Testing

@testable import Host

/// Each case runs in a forked child: what it does there must not touch the test process.
@Suite struct JailTests {
    /// Enters `jail` in a child and then makes one system call; the child ends with 0 where the call gave `expected`.
    private func status(
        of call: SystemCall, _ a: Int = 0, _ b: Int = 0, _ c: Int = 0, expecting expected: Int? = nil,
        in jail: Jail = Jail(filter: .vmmBase())
    ) -> Int32 {
        withUnsafePointer(to: Case(jail: jail, call: call, a: a, b: b, c: c, expected: expected)) { context in
            ctesting_in_child(
                { raw in
                    let test = raw!.assumingMemoryBound(to: Case.self).pointee
                    do { try test.jail.enter() } catch { return 99 }
                    let result = ctesting_system_call(Int(test.call.rawValue), test.a, test.b, test.c)
                    guard let expected = test.expected else { return 0 }
                    return result == expected ? 0 : 1
                }, UnsafeMutableRawPointer(mutating: context))
        }
    }

    private struct Case {
        var jail: Jail
        var call: SystemCall
        var a: Int
        var b: Int
        var c: Int
        var expected: Int?
    }

    private func signal(_ status: Int32) -> Int32 { status & 0x7F }

    @Test func allowedCallsGoOn() {
        #expect(status(of: .getpid) == 0)
        #expect(status(of: .mmap, 0, 4096, Int(PROT_READ), expecting: -Int(EINVAL)) == 0, "no flags")
    }

    @Test(arguments: [SystemCall.socket, .execve, .ptrace, .clone, .fork, .memfdCreate, .kill, .processVmReadv])
    func aForbiddenCallKillsOnlyTheChild(call: SystemCall) {
        #expect(signal(status(of: call)) == SIGSYS)
        #expect(getpid() > 0)
    }

    @Test func lookingUpFilesIsRefusedNotFatal() {
        #expect(status(of: .openat, expecting: -Int(EACCES)) == 0)
        #expect(status(of: .readlink, expecting: -Int(EACCES)) == 0)
    }

    @Test func noExecutableMemory() {
        #expect(signal(status(of: .mmap, 0, 4096, Int(PROT_READ | PROT_EXEC))) == SIGSYS)
        #expect(signal(status(of: .mprotect, 0, 4096, Int(PROT_EXEC))) == SIGSYS)
    }

    @Test func signalsReachOnlyThisProcess() {
        #expect(signal(status(of: .tgkill, 1, 1, 0)) == SIGSYS)
    }

    @Test func conditionsLookAtOneArgument() {
        var filter = SeccompFilter()
        filter.add(
            .ioctl, .allow, if: .init(argument: 1, mask: 0xFF00, equals: 0xAE00), otherwise: .refuse(errno: ENOTTY))
        filter.append(.vmmBase())
        let jail = Jail(filter: filter)
        #expect(status(of: .ioctl, -1, 0xAE80, 0, expecting: -Int(EBADF), in: jail) == 0)
        #expect(status(of: .ioctl, -1, 0x5401, 0, expecting: -Int(ENOTTY), in: jail) == 0)
        #expect(status(of: .ioctl, -1, 0xAF80, 0, expecting: -Int(ENOTTY), in: jail) == 0)
    }

    @Test func anotherDefaultIsPossible() {
        let jail = Jail(filter: .vmmBase(default: .refuse(errno: EPERM)))
        #expect(status(of: .socket, expecting: -Int(EPERM), in: jail) == 0)
    }

    @Test func numbersOfTheOtherABIAreKilled() {
        let jail = Jail(filter: .vmmBase(default: .allow))
        withUnsafePointer(to: jail) { context in
            let status = ctesting_in_child(
                { raw in
                    let jail = raw!.assumingMemoryBound(to: Jail.self).pointee
                    do { try jail.enter() } catch { return 99 }
                    _ = ctesting_system_call(0x4000_0000 | 39, 0, 0, 0)
                    return 0
                }, UnsafeMutableRawPointer(mutating: context))
            #expect(status & 0x7F == SIGSYS)
        }
    }

    @Test func rulesFitTheirJumps() {
        let program = SeccompFilter.vmmBase().instructions
        #expect(program.count < 4096, "BPF_MAXINSNS")
    }
}
