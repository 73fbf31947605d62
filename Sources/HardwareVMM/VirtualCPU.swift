import CLinux
import Glibc
import Host
import Machine

/// Owns a vCPU's descriptor and its mapped `kvm_run`.
struct VirtualCPU: ~Copyable {
    let descriptor: FileDescriptor
    // Invariant: maps `runBytes` bytes from init to deinit.
    let run: UnsafeMutablePointer<kvm_run>
    let runBytes: Int

    init(system: borrowing KVMSystem, machine: borrowing VirtualMachine) throws(MachineError) {
        let raw = clinux_kvm_create_vcpu(machine.descriptor.rawValue, 0)
        guard raw >= 0 else { throw .last("KVM_CREATE_VCPU") }
        let owner = FileDescriptor(owning: raw)
        let bytes = Int(clinux_kvm_run_bytes(system.descriptor.rawValue))
        guard bytes >= MemoryLayout<kvm_run>.size else { throw .last("KVM_GET_VCPU_MMAP_SIZE") }
        guard let mapping = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, raw, 0), mapping != MAP_FAILED else {
            throw .last("mmap of kvm_run")
        }
        descriptor = owner
        run = mapping.bindMemory(to: kvm_run.self, capacity: 1)
        runBytes = bytes
    }

    deinit { munmap(run, runBytes) }

    // MARK: - Set-up

    /// Gives the guest the CPU that KVM supports, as CPU 0, with x2APIC where KVM emulates the APIC.
    func setCPUID(_ table: CPUIDTable, hasIrqchip: Bool, hasDeadlineTimer: Bool) throws(MachineError) {
        for index in table.entries.indices {
            switch table.entries[index].function {
            case 1:
                table.entries[index].ebx &= 0x00FF_FFFF  // initial APIC ID 0
                // ECX: x2APIC bit 21, TSC-deadline bit 24 (Intel SDM vol. 2, CPUID leaf 1). KVM_GET_SUPPORTED_CPUID
                // leaves both to the VMM, which knows who emulates the APIC (api.rst 4.46).
                let mask: UInt32 = 1 << 21 | 1 << 24
                table.entries[index].ecx &= ~mask
                if hasIrqchip { table.entries[index].ecx |= 1 << 21 }
                if hasIrqchip && hasDeadlineTimer { table.entries[index].ecx |= 1 << 24 }
            case 0xB, 0x1F:
                table.entries[index].edx = 0  // x2APIC ID 0
            default: break
            }
        }
        guard clinux_kvm_set_cpuid(descriptor.rawValue, table.header) == 0 else { throw .last("KVM_SET_CPUID2") }
    }

    /// Puts the vCPU into the boot state; x2APIC on where `hasIrqchip`.
    func enter(_ state: BootState, hasIrqchip: Bool, presetXCR0: UInt64?) throws(MachineError) {
        var sregs = try specialRegisters()
        sregs.cs = Self.segment(state.code)
        let data = Self.segment(state.data)
        (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data)
        sregs.tr = Self.segment(state.task)
        sregs.gdt.base = state.gdtBase
        sregs.gdt.limit = state.gdtLimit
        sregs.idt.base = 0
        sregs.idt.limit = 0
        (sregs.cr0, sregs.cr3, sregs.cr4, sregs.efer) = (state.cr0, state.cr3, state.cr4, state.efer)
        if presetXCR0 != nil && state.isLongMode { sregs.cr4 |= 1 << 18 }  // CR4.OSXSAVE
        // IA32_APIC_BASE: enable, x2APIC (SDM vol. 3, 12.12.1).
        if hasIrqchip { sregs.apic_base |= 1 << 11 | (state.startsInX2APICMode ? 1 << 10 : 0) }
        guard clinux_kvm_set_sregs(descriptor.rawValue, &sregs) == 0 else { throw .last("KVM_SET_SREGS") }
        if let presetXCR0 {
            var xcrs = kvm_xcrs()
            xcrs.nr_xcrs = 1
            xcrs.xcrs.0.xcr = 0
            xcrs.xcrs.0.value = presetXCR0
            guard clinux_kvm_set_xcrs(descriptor.rawValue, &xcrs) == 0 else { throw .last("KVM_SET_XCRS") }
        }
        var regs = kvm_regs()
        (regs.rip, regs.rdi, regs.rflags) = (state.rip, state.rdi, state.rflags)
        (regs.rax, regs.rbx) = (state.rax, state.rbx)
        guard clinux_kvm_set_regs(descriptor.rawValue, &regs) == 0 else { throw .last("KVM_SET_REGS") }
    }

    private static func segment(_ segment: SegmentRegister) -> kvm_segment {
        func bit(_ number: UInt16) -> UInt8 { UInt8(segment.attributes >> number & 1) }
        return kvm_segment(
            base: segment.base, limit: segment.limit, selector: segment.selector, type: segment.type, present: bit(7),
            dpl: segment.privilege, db: bit(14), s: bit(4), l: bit(13), g: bit(15), avl: bit(12), unusable: 0,
            padding: 0)
    }

    /// Makes the guest's TSC the host's. Returns guest TSC minus host TSC: 0 where KVM can set the offset, else what
    /// remains after writing the MSR.
    func alignTSC() -> Int64 {
        if clinux_kvm_set_tsc_offset(descriptor.rawValue, 0) == 0 { return 0 }
        _ = writeMSR(Self.tscMSR, TimestampCounter.now())
        return tscLead() ?? 0
    }

    /// Guest TSC minus host TSC now; 0 when it is less than a millisecond, as the call takes time itself. Nil when KVM does
    /// not say.
    func tscLead() -> Int64? {
        guard let guest = readMSR(Self.tscMSR) else { return nil }
        let difference = Int64(bitPattern: guest &- TimestampCounter.now())
        return abs(difference) < Int64(TimestampCounter.hertz / 1000) ? 0 : difference
    }

    /// IA32_TIME_STAMP_COUNTER (Intel SDM vol. 4, table 2-2).
    private static let tscMSR: UInt32 = 0x10

    // MARK: - State

    func registers() throws(MachineError) -> kvm_regs {
        var regs = kvm_regs()
        guard clinux_kvm_get_regs(descriptor.rawValue, &regs) == 0 else { throw .last("KVM_GET_REGS") }
        return regs
    }

    func specialRegisters() throws(MachineError) -> kvm_sregs {
        var sregs = kvm_sregs()
        guard clinux_kvm_get_sregs(descriptor.rawValue, &sregs) == 0 else { throw .last("KVM_GET_SREGS") }
        return sregs
    }

    /// Whether the vCPU waits in HLT inside KVM.
    var isHalted: Bool {
        var state = kvm_mp_state()
        return clinux_kvm_get_mp_state(descriptor.rawValue, &state) == 0 && state.mp_state == 3  // KVM_MP_STATE_HALTED
    }

    private struct OneMSR {
        var header = kvm_msrs()
        var entry = kvm_msr_entry()
    }

    private func withMSR(_ index: UInt32, _ value: UInt64, _ body: (UnsafeMutablePointer<kvm_msrs>) -> Int32) -> UInt64?
    {
        var one = OneMSR()
        one.header.nmsrs = 1
        one.entry.index = index
        one.entry.data = value
        let done = withUnsafeMutableBytes(of: &one) { buffer in
            body(buffer.baseAddress!.assumingMemoryBound(to: kvm_msrs.self))
        }
        return done == 1 ? one.entry.data : nil
    }

    func readMSR(_ index: UInt32) -> UInt64? {
        withMSR(index, 0) { clinux_kvm_get_msrs(descriptor.rawValue, $0) }
    }

    func writeMSR(_ index: UInt32, _ value: UInt64) -> Bool {
        withMSR(index, value) { clinux_kvm_set_msrs(descriptor.rawValue, $0) } != nil
    }
}
