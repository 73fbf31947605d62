import Host
import Machine

/// Device memory: the local APIC's registers in xAPIC mode, the I/O APIC's, and the test device's.
extension SoftwareMachine {
    /// Whether there is a device at this guest-physical address now.
    func isDevice(_ physical: UInt64) -> Bool {
        if physical >= LocalAPIC.address && physical < LocalAPIC.address + LocalAPIC.bytes {
            return !cpu.apic.isInX2APICMode
        }
        if TestDevice.contains(GuestPhysicalAddress(physical)) { return true }
        return cpu.platform != nil && PlatformDevices.isIOAPIC(physical)
    }

    /// Reads 1, 2, 4 or 8 bytes; nil where there is no device. Registers are 32 bits wide; narrower accesses get their part, and
    /// what lies between registers reads as zero.
    func readDevice(_ physical: UInt64, size: Int) -> UInt64? {
        guard isDevice(physical) else { return nil }
        if TestDevice.contains(GuestPhysicalAddress(physical)) {
            return testDevice.read(GuestPhysicalAddress(physical), size: size)
        }
        let part = physical & 3
        guard Int(part) + size <= 4 else { return size == 8 ? 0 : nil }
        let offset = physical & 0xFFC
        let value: UInt32
        if physical >= LocalAPIC.address {
            value = offset & 0xC == 0 ? cpu.apic.readMemory(offset, now: TimestampCounter.now()) : 0
        } else {
            value = cpu.platform?.readIOAPIC(physical & ~3) ?? 0
        }
        return UInt64(value) >> (8 * part) & (size == 4 ? 0xFFFF_FFFF : (1 << UInt64(8 * size)) - 1)
    }

    /// False where there is no device. Only aligned 32-bit writes reach a register (Intel SDM vol. 3, 11.4.1).
    func writeDevice(_ physical: UInt64, size: Int, value: UInt64) -> Bool {
        guard isDevice(physical) else { return false }
        if TestDevice.contains(GuestPhysicalAddress(physical)) {
            testDevice.write(GuestPhysicalAddress(physical), size: size, value: value)
            return true
        }
        guard size == 4, physical & 3 == 0 else { return true }
        let word = UInt32(truncatingIfNeeded: value)
        let offset = physical & 0xFFF
        if physical < LocalAPIC.address {
            cpu.platform?.writeIOAPIC(physical, word)
        } else if offset == 0x0B0 {
            _ = writeAPIC(0x0B, 0)
        } else {
            cpu.apic.writeMemory(offset, word, now: TimestampCounter.now())
            timerChanged = true
        }
        return true
    }

    /// Writes a register of the local APIC by its x2APIC number. False: #GP.
    func writeAPIC(_ index: UInt32, _ value: UInt64) -> Bool {
        let ended = index == 0x0B ? cpu.apic.highestInService : nil
        guard cpu.apic.write(index, value, now: TimestampCounter.now()) else { return false }
        if let ended { cpu.platform?.endOfInterrupt(ended) }
        timerChanged = true
        return true
    }
}
