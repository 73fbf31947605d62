import Host
import Machine

/// Control registers and MSRs as the guest reads and writes them.
extension SoftwareMachine {
    // MARK: Control registers (Intel SDM vol. 3, 2.5)

    func readControlRegister(_ number: UInt8) throws(GuestException) -> UInt64 {
        switch number {
        case 0: return cpu.cr0
        case 2: return cpu.cr2
        case 3: return cpu.cr3
        case 4: return cpu.cr4
        case 8: return cpu.apic.cr8
        default: throw .undefined
        }
    }

    /// VME PVI TSD DE PSE PAE MCE PGE PCE OSFXSR OSXMMEXCPT FSGSBASE OSXSAVE
    static let offeredCR4: UInt64 = 0x7FF | 1 << 16 | 1 << 18

    func writeControlRegister(_ number: UInt8, _ value: UInt64) throws(GuestException) {
        switch number {
        case 0:
            guard value >> 32 == 0, value & 1 << 31 == 0 || value & 1 != 0 else { throw .protection }
            // 64-bit code cannot clear CR0.PG (Intel SDM vol. 3, 9.8.5.4); compatibility-mode code is the interpreter's.
            guard value & 1 << 31 != 0 else { throw .protection }
            let changed = cpu.cr0 ^ value
            cpu.cr0 = value | 1 << 4
            updateWithheldInstructions()
            if changed & 1 << 16 != 0 { dropTranslations(all: true) }
        case 2: cpu.cr2 = value
        case 3:
            guard value & 0xFFF0_0000_0000_0000 == 0 else { throw .protection }
            cpu.cr3 = value
            userMode.enter(
                root: value & PageTableEntry.addressMask, calls: userEvents, now: guestClock)
            dropTranslations(all: false)
        case 4:
            guard value & ~Self.offeredCR4 == 0, value & 1 << 5 != 0 else { throw .protection }
            let changed = cpu.cr4 ^ value
            cpu.cr4 = value
            updateWithheldInstructions()
            if changed & (1 << 4 | 1 << 7) != 0 { dropTranslations(all: true) }
        case 8:
            guard value < 16 else { throw .protection }
            cpu.apic.cr8 = value
        default: throw .undefined
        }
    }

    func readDebugRegister(_ number: UInt8) throws(GuestException) -> UInt64 {
        guard number < 8 else { throw .undefined }
        return cpu.debugRegisters[Int(number)]
    }

    func writeDebugRegister(_ number: UInt8, _ value: UInt64) throws(GuestException) {
        guard number < 8 else { throw .undefined }
        if number == 7 && value & 0xFF != 0 {
            pendingStop = .unsupported("hardware breakpoints (DR7)")
            return
        }
        cpu.debugRegisters[Int(number)] = value
    }

    func writeExtendedControlRegister(_ index: UInt64, _ value: UInt64) throws(GuestException) {
        // x87 always; AVX only with SSE; AVX-512's three only together and with AVX.
        guard index == 0, value & ~cpu.hostXCR0 == 0, value & 1 != 0 else { throw .protection }
        guard value & 4 == 0 || value & 2 != 0 else { throw .protection }
        guard value & 0xE0 == 0 || (value & 0xE0 == 0xE0 && value & 4 != 0) else { throw .protection }
        cpu.xcr0 = value
    }

    // MARK: MSRs (Intel SDM vol. 4)

    func readMSR(_ number: UInt32) throws(GuestException) -> UInt64 {
        switch number {
        case 0x10: return TimestampCounter.now()
        case 0x1B: return cpu.apic.baseRegister
        case 0x8B: return 0
        case 0xFE: return 0
        case 0x174: return cpu.sysenter.0
        case 0x175: return cpu.sysenter.1
        case 0x176: return cpu.sysenter.2
        case 0x1A0: return 1
        case 0x277: return cpu.pageAttributes
        case 0x800...0x83F:
            guard cpu.apic.isInX2APICMode,
                let value = cpu.apic.read(number - 0x800, now: TimestampCounter.now())
            else {
                throw .protection
            }
            return value
        case 0xC000_0080: return cpu.efer
        case 0xC000_0081: return cpu.star
        case 0xC000_0082: return cpu.longStar
        case 0xC000_0083: return cpu.compatibilityStar
        case 0xC000_0084: return cpu.systemCallMask
        case 0xC000_0100: return cpu.state.pointee.guest_fs_base
        case 0xC000_0101: return cpu.state.pointee.guest_gs_base
        case 0xC000_0102: return cpu.kernelGSBase
        case 0xC000_0103: return cpu.tscAuxiliary
        default: throw .protection
        }
    }

    func writeMSR(_ number: UInt32, _ value: UInt64) throws(GuestException) {
        switch number {
        case 0x1B:
            guard cpu.apic.writeBase(value) else { throw .protection }
        case 0x8B: break
        case 0x174: cpu.sysenter.0 = value
        case 0x175: cpu.sysenter.1 = value
        case 0x176: cpu.sysenter.2 = value
        case 0x277: cpu.pageAttributes = value
        case 0x800...0x83F:
            guard cpu.apic.isInX2APICMode, writeAPIC(number - 0x800, value) else { throw .protection }
        case 0xC000_0080:
            // SCE, LME, LMA (read-only), NXE
            guard value & ~0xD01 == 0 else { throw .protection }
            guard value & 1 << 8 != 0 else { throw .protection }
            let changed = cpu.efer ^ value
            cpu.efer = value | 1 << 10
            if changed & 1 << 11 != 0 { dropTranslations(all: true) }
        case 0xC000_0081: cpu.star = value
        case 0xC000_0082:
            guard AddressMap.isCanonical(value) else { throw .protection }
            cpu.longStar = value
        case 0xC000_0083: cpu.compatibilityStar = value
        case 0xC000_0084: cpu.systemCallMask = value & 0xFFFF_FFFF
        case 0xC000_0100, 0xC000_0101, 0xC000_0102:
            guard AddressMap.isCanonical(value) else { throw .protection }
            if number == 0xC000_0100 {
                cpu.state.pointee.guest_fs_base = value
            } else if number == 0xC000_0101 {
                cpu.state.pointee.guest_gs_base = value
            } else {
                cpu.kernelGSBase = value
            }
        case 0xC000_0103: cpu.tscAuxiliary = value & 0xFFFF_FFFF
        default: throw .protection
        }
    }
}
