import GuestInterface
import Testing

@testable import Machine

@Suite struct TestDeviceTests {
    private func at(_ offset: UInt64) -> GuestPhysicalAddress { GuestPhysicalAddress(BootLayout.testDevice + offset) }

    @Test func takesItsPageAndNothingElse() {
        #expect(TestDevice.contains(at(0)))
        #expect(TestDevice.contains(at(0xFFF)))
        #expect(!TestDevice.contains(at(0x1000)))
        #expect(!TestDevice.contains(GuestPhysicalAddress(BootLayout.testDevice - 1)))
    }

    @Test func readsWhatWasWritten() {
        var device = TestDevice()
        #expect(device.read(at(0), size: 4) == 0)
        device.write(at(0), size: 4, value: 0xFFFF_FFFF_1234_5678)
        #expect(device.read(at(0), size: 4) == 0x1234_5678)
    }

    @Test func accessesOfOtherSizesGetTheirPart() {
        var device = TestDevice()
        device.write(at(0), size: 8, value: 0xAAAA_AAAA_1234_5678)
        #expect(device.read(at(0), size: 8) == 0x1234_5678)
        #expect(device.read(at(1), size: 1) == 0x56)
        #expect(device.read(at(3), size: 4) == 0x12)
        device.write(at(1), size: 2, value: 0xFF_ABCD)
        #expect(device.read(at(0), size: 4) == 0x12AB_CD78)
        device.write(at(3), size: 8, value: .max)
        #expect(device.read(at(0), size: 4) == 0xFFAB_CD78)
    }

    @Test func theRestOfThePageIsEmpty() {
        var device = TestDevice()
        device.write(at(4), size: 4, value: 7)
        device.write(at(0xFFF), size: 1, value: 7)
        #expect(device.read(at(0), size: 4) == 0)
        #expect(device.read(at(4), size: 8) == 0)
        #expect(device.read(at(0xFFF), size: 1) == 0)
    }
}
