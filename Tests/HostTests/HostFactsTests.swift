import Glibc
import Testing

@testable import Host

@Suite struct HostFactsTests {
    private let facts = HostFacts.probe()

    private func value(_ name: String) throws -> HostFact.Value {
        try #require(facts.facts.first { $0.name == name }).value
    }

    @Test func namesAreUnique() {
        #expect(Set(facts.facts.map(\.name)).count == facts.facts.count)
        #expect(Set(facts.capabilities.map(\.name)).count == facts.capabilities.count)
    }

    @Test func factsAgreeWithTheSystem() throws {
        #expect(try value("pageBytes") == .integer(Int64(getpagesize())))
        guard case .integer(let memory) = try value("memoryBytes") else {
            Issue.record("no memory size")
            return
        }
        #expect(memory > 64 << 20)
        guard case .text(let release) = try value("kernelRelease") else {
            Issue.record("no kernel release")
            return
        }
        #expect(HostFile.text("/proc/sys/kernel/osrelease") == release)
    }

    @Test func whatIsUnknownSaysWhy() {
        for fact in facts.facts {
            if case .unavailable(let reason) = fact.value { #expect(!reason.isEmpty, "\(fact.name)") }
            if case .text(let text) = fact.value { #expect(!text.isEmpty, "\(fact.name)") }
        }
    }

    @Test func whatIsMissingHasARemedy() {
        for capability in facts.capabilities {
            #expect(!capability.detail.isEmpty, "\(capability.name)")
            #expect((capability.remedy == nil) == capability.present, "\(capability.name)")
        }
    }

    @Test func kvmIsPresentExactlyWhenItOpens() throws {
        let kvm = try #require(facts.capabilities.first { $0.name == "kvm" })
        #expect(kvm.present == (FileDescriptor.open("/dev/kvm", O_RDWR) != nil))
    }

    @Test func probingTwiceIsHarmless() {
        #expect(HostFacts.probe().capabilities == facts.capabilities)
    }
}

@Suite struct TimestampCounterTests {
    @Test func itCountsUpAtItsFrequency() {
        func raw() -> Double {
            var time = timespec()
            clock_gettime(CLOCK_MONOTONIC_RAW, &time)
            return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
        }
        let begin = (raw(), TimestampCounter.now())
        usleep(50_000)
        let end = (raw(), TimestampCounter.now())
        let ratio = TimestampCounter.nanoseconds(end.1 - begin.1) / (end.0 - begin.0)
        // A descheduling between the two readings of a pair is what the tolerance is for.
        #expect(abs(ratio - 1) < 0.05)
        #expect(!TimestampCounter.source.isEmpty)
    }
}

@Suite struct PerfCountersTests {
    @Test func everyEventIsCountedOrExplained() {
        let counters = PerfCounters(process: 0)
        counters.start()
        var sum = 0
        for value in 0..<100_000 { sum &+= value &* value }
        #expect(sum != 1)
        let values = counters.read()
        #expect(values.count + counters.unavailable.count == 11)
        for (_, reason) in counters.unavailable { #expect(!reason.isEmpty) }
        if let clock = values["perf.taskClockNanoseconds"] { #expect(clock > 0) }
    }

    @Test func aProcessThatIsGoneIsExplained() {
        // The largest possible process id, and one more.
        let counters = PerfCounters(process: 4_194_305)
        counters.start()
        #expect(counters.read().isEmpty)
        #expect(counters.unavailable.count == 11)
    }
}

@Suite struct ResourceUsageTests {
    @Test func usageGrows() throws {
        let before = ResourceUsage.current()
        let bytes = 8 << 20
        let mapping = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        let memory = try #require(mapping != MAP_FAILED ? mapping : nil)
        // One fault a page, whatever the host thinks of huge pages.
        madvise(memory, bytes, MADV_NOHUGEPAGE)
        for offset in stride(from: 0, to: bytes, by: 4096) {
            memory.storeBytes(of: 1, toByteOffset: offset, as: UInt8.self)
        }
        let after = ResourceUsage.current()
        munmap(memory, bytes)
        #expect(after.minorFaults >= before.minorFaults + UInt64(bytes / Int(getpagesize())))
        #expect(after.maximumResidentBytes >= UInt64(bytes))
        #expect(after.counters.count == 7)
    }
}
