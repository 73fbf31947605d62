import Glibc
import Testing

@testable import Host

@Suite struct TracepointTests {
    private let format = """
        name: kvm_emulate_insn
        ID: 85
        format:
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

        \tfield:__u64 rip;\toffset:8;\tsize:8;\tsigned:0;
        \tfield:__u8 insn[15];\toffset:21;\tsize:15;\tsigned:0;
        \tfield:__data_loc char[] text;\toffset:40;\tsize:4;\tsigned:0;

        print fmt: "%x:%llx:%s", REC->csbase, REC->rip
        """

    @Test func fieldsAreWhereTheFormatSays() throws {
        let point = try #require(Tracepoint(name: "kvm:kvm_emulate_insn", format: format))
        #expect(point.id == 85)
        #expect(point.fields["rip"] == .init(offset: 8, size: 8))
        #expect(point.fields["insn"] == .init(offset: 21, size: 15))
        #expect(point.fields["common_pid"] == .init(offset: 4, size: 4))
        #expect(point.fields["text"] == .init(offset: 40, size: 4))
        #expect(point.fields.count == 5)
    }

    @Test(arguments: [
        "", "ID: 7", "ID: 70000\n\tfield:int a;\toffset:0;\tsize:4;", "ID: x\n\tfield:int a;\toffset:0;\tsize:4;",
    ])
    func aTextThatIsNoFormatIsNoTracepoint(text: String) {
        #expect(Tracepoint(name: "a:b", format: text) == nil)
    }

    @Test(arguments: ["offset:-4;\tsize:4;", "offset:0;\tsize:99999;", "size:4;", "offset:0;"])
    func aFieldOutsideOfARecordIsRefused(place: String) {
        #expect(Tracepoint(name: "a:b", format: "ID: 7\n\tfield:int a;\t\(place)") == nil)
    }

    @Test func whatIsMissingIsSaid() {
        func problem(_ roots: [String], _ event: String = "none") -> Tracepoint.Unavailable? {
            do throws(Tracepoint.Unavailable) {
                _ = try Tracepoint(system: "kvm", event: event, roots: roots)
                return nil
            } catch { return error }
        }
        #expect(problem(["/nowhere"])?.reason == "there is no tracefs")
        #expect(problem([])?.remedy.contains("mount -t tracefs") == true)
        if access("/sys/kernel/tracing/events", F_OK) == 0 {
            #expect(problem(Tracepoint.roots)?.reason == "this kernel has no tracepoint kvm:none")
        }
    }
}

/// Whether this user may record tracepoints.
private let tracingWorks: Bool = {
    guard let point = try? Tracepoint(system: "syscalls", event: "sys_enter_getppid") else { return false }
    return (try? TraceBuffer([point], bufferBytes: 1 << 17)) != nil
}()

/// With a tracepoint that every kernel with tracing has, in this thread.
@Suite(.enabled(if: tracingWorks, "tracepoints are not available to this user")) struct TraceBufferTests {

    private let enter: Tracepoint
    private let leave: Tracepoint

    init() throws {
        enter = try Tracepoint(system: "syscalls", event: "sys_enter_getppid")
        leave = try Tracepoint(system: "syscalls", event: "sys_exit_getppid")
    }

    private struct Seen {
        var ids: [UInt16] = []
        var times: [UInt64] = []
        var switches: [Bool] = []
        var lost: UInt64 = 0
    }

    private func drain(_ buffer: TraceBuffer, into seen: inout Seen) {
        var collected = seen
        buffer.drain { record in
            switch record {
            case .hit(let time, let fields):
                collected.ids.append(fields.loadUnaligned(as: UInt16.self))
                collected.times.append(time)
            case .switched(let out, let time):
                collected.switches.append(out)
                collected.times.append(time)
            case .lost(let count): collected.lost += count
            }
        }
        seen = collected
    }

    private func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC_RAW, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    @Test func hitsOfSeveralTracepointsComeInOrderWithTheirTimes() throws {
        let buffer = try TraceBuffer([enter, leave], bufferBytes: 1 << 17)
        _ = getppid()
        let begin = now()
        try buffer.start()
        for _ in 0..<3 { _ = getppid() }
        buffer.stop()
        let end = now()
        _ = getppid()
        var seen = Seen()
        drain(buffer, into: &seen)
        #expect(seen.ids == [enter.id, leave.id, enter.id, leave.id, enter.id, leave.id])
        #expect(seen.times == seen.times.sorted())
        #expect(seen.times.allSatisfy { $0 >= begin && $0 <= end })
        #expect(buffer.counts() == [enter.name: 3, leave.name: 3])
    }

    @Test func aFullBufferLosesHitsAndSaysHowMany() throws {
        let buffer = try TraceBuffer([enter], bufferBytes: 1 << 17)
        try buffer.start()
        var seen = Seen()
        for _ in 0..<3 {
            for _ in 0..<10_000 { _ = getppid() }
            drain(buffer, into: &seen)
        }
        // A loss is told with the next record that finds room.
        _ = getppid()
        drain(buffer, into: &seen)
        #expect(seen.lost > 0)
        // Switches of the CPU are lost as well.
        #expect(seen.ids.count < 30_001)
        #expect(UInt64(seen.ids.count) + seen.lost >= 30_001)
        #expect(buffer.counts() == [enter.name: 30_001])
    }

    @Test func recordsThatWrapAroundAreWhole() throws {
        let buffer = try TraceBuffer([enter, leave], bufferBytes: 1 << 17)
        try buffer.start()
        var seen = Seen()
        for _ in 0..<100 {
            for _ in 0..<333 { _ = getppid() }
            drain(buffer, into: &seen)
        }
        #expect(seen.lost == 0)
        #expect(seen.ids.count == 66_600)
        #expect(seen.ids.enumerated().allSatisfy { $1 == ($0 % 2 == 0 ? enter.id : leave.id) })
    }

    @Test func waitingShowsAsLossOfTheCPU() throws {
        let buffer = try TraceBuffer([enter], bufferBytes: 1 << 17)
        try buffer.start()
        _ = getppid()
        usleep(1000)
        _ = getppid()
        buffer.stop()
        var seen = Seen()
        drain(buffer, into: &seen)
        #expect(seen.ids.count == 2)
        #expect(seen.switches.count >= 2)
        #expect(seen.switches.enumerated().allSatisfy { $1 == ($0 % 2 == 0) }, "out, in, out, in …")
        #expect(seen.times == seen.times.sorted())
    }

    @Test func aPlainCounterAgrees() throws {
        let counter = try TracepointCounter(enter)
        for _ in 0..<42 { _ = getppid() }
        #expect(counter.count == 42)
    }
}
