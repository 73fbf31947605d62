import Results
import Testing

@testable import Lab

@Suite("Child protocol")
struct ChildProtocolTests {
    private let events: [ChildEvent] = [
        .programStarted, .kernelLogged("nub: up"), .finished(TrialResult(status: .exited(code: 3))),
    ]

    @Test("Frames cut anywhere give the same events", arguments: [1, 2, 3, 7, 4096])
    func pieces(size: Int) throws {
        let stream = try events.flatMap(ChildProtocol.frame)
        var reader = FrameReader()
        var read: [ChildEvent] = []
        for start in stride(from: 0, to: stream.count, by: size) {
            read += try reader.events(adding: Array(stream[start..<min(start + size, stream.count)]))
        }
        #expect(read == events)
        #expect(!reader.isInsideFrame)
    }

    @Test("The end of the stream inside a frame is noticed")
    func truncated() throws {
        var reader = FrameReader()
        let frame = try ChildProtocol.frame(.programStarted)
        #expect(try reader.events(adding: frame.dropLast()).isEmpty)
        #expect(reader.isInsideFrame)
    }

    @Test("A length beyond reason is garbage at once, not a wait for gigabytes")
    func absurdLength() {
        var reader = FrameReader()
        #expect(throws: FrameReader.Garbage.self) { try reader.events(adding: [0xFF, 0xFF, 0xFF, 0x7F]) }
    }

    @Test("A frame that is no event is garbage")
    func noEvent() {
        var reader = FrameReader()
        #expect(throws: FrameReader.Garbage.self) { try reader.events(adding: [2, 0, 0, 0] + Array("{}".utf8)) }
    }
}
