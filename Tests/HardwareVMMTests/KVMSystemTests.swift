import Glibc
import GuestInterface
import Host
import Machine
import Testing

@testable import HardwareVMM

/// What needs no /dev/kvm.
@Suite struct KVMSystemTests {
    @Test(arguments: [
        (ENOENT, "there is no usable /dev/kvm", "--device /dev/kvm"), (EACCES, "no permission", "usermod -aG kvm"),
        (EPERM, "no permission", "usermod -aG kvm"), (EMFILE, "does not open", "dmesg"),
    ])
    func eachFailureToOpenHasAReasonAndARemedy(code: Int32, reason: String, remedy: String) {
        guard case .unavailable(let given, let advice) = KVMSystem.unavailable(errno: code) else {
            Issue.record("not an unavailability")
            return
        }
        #expect(given.contains(reason))
        #expect(advice.contains(remedy))
    }

    @Test func onlyHardwareNeedsNoQuirks() {
        for flavour in KVMFlavour.allCases {
            #expect((flavour.quirks == 0) == flavour.isHardwareAssisted, "\(flavour)")
            #expect(flavour.detail.contains(flavour.rawValue))
        }
        #expect(KVMFlavour.unknown.quirks & BootQuirks.noSysret != 0)
    }

    @Test func theRingKeepsTheLastSixteenInOrder() {
        var ring = ExitRing()
        #expect(ring.lines(until: 0, tscHertz: 1).isEmpty)
        for port in 1...20 as ClosedRange<UInt64> {
            ring.record(
                .init(
                    reason: UInt32(2), address: port, data: 7, isWrite: port % 2 == 0, size: 1, tsc: port * 1000))
        }
        let lines = ring.lines(until: 21_000, tscHertz: 1_000_000)
        #expect(lines.count == 16)
        #expect(lines.first?.contains("exit #5, 16000 µs before the end: in port 0x5, 1 bytes, value 0x7") == true)
        #expect(lines.last?.contains("exit #20, 1000 µs before the end: out port 0x14") == true)
    }
}
