import CLinux
import Glibc
import Host
import Machine

/// Owns a VM's descriptor and the memory it borrows.
struct VirtualMachine: ~Copyable {
    let descriptor: FileDescriptor
    /// Kept alive: KVM reads its mapping as long as the VM exists.
    let memory: GuestMemory
    /// Whether KVM emulates the local APIC, so that HLT and the timer need no exit to the VMM.
    let hasIrqchip: Bool

    /// - Parameter hasPlatformDevices: the guest sees an interval timer, and the timer's interrupt where PCs have it.
    init(system: borrowing KVMSystem, memory: GuestMemory, hasPlatformDevices: Bool) throws(MachineError) {
        let raw = clinux_kvm_create_vm(system.descriptor.rawValue)
        guard raw >= 0 else { throw .last("KVM_CREATE_VM") }
        let owner = FileDescriptor(owning: raw)
        // VT-x without unrestricted guests wants four pages of guest-physical space (api.rst 4.35, 4.41): keep them in the
        // device hole. Other flavours lack the call and need nothing.
        _ = clinux_kvm_set_identity_map(raw, 0xFEFF_C000)
        _ = clinux_kvm_set_tss_address(raw, 0xFEFF_D000)
        let hasIrqchip = system.capability(KVM_CAP_IRQCHIP) > 0
        guard !hasIrqchip || clinux_kvm_create_irqchip(raw) == 0 else { throw .last("KVM_CREATE_IRQCHIP") }
        if hasPlatformDevices {
            guard hasIrqchip, system.capability(KVM_CAP_PIT2) > 0 else {
                throw .unavailable(
                    reason: "this KVM emulates no interrupt controllers and interval timer",
                    remedy: "boot by the vbench protocol, or use a KVM with KVM_CAP_IRQCHIP and KVM_CAP_PIT2")
            }
            guard clinux_kvm_create_pit(raw) == 0 else { throw .last("KVM_CREATE_PIT2") }
            guard clinux_kvm_route_pc_interrupts(raw) == 0 else { throw .last("KVM_SET_GSI_ROUTING") }
        }
        try Self.map(raw, slot: 0, at: 0, bytes: memory.lowBytes, host: memory.base)
        if memory.highBytes > 0 {
            try Self.map(
                raw, slot: 1, at: 4 << 30, bytes: memory.highBytes, host: memory.base + Int(memory.lowBytes))
        }
        descriptor = owner
        self.memory = memory
        self.hasIrqchip = hasIrqchip
    }

    /// Sets an ISA interrupt line.
    func setLine(_ line: UInt32, _ level: Bool) { _ = clinux_kvm_irq_line(descriptor.rawValue, line, level ? 1 : 0) }

    private static func map(
        _ vm: Int32, slot: UInt32, at address: UInt64, bytes: UInt64, host: UnsafeMutableRawPointer
    ) throws(MachineError) {
        var region = kvm_userspace_memory_region(
            slot: slot, flags: 0, guest_phys_addr: address, memory_size: bytes,
            userspace_addr: UInt64(UInt(bitPattern: host)))
        guard clinux_kvm_set_memory(vm, &region) == 0 else {
            throw .last("KVM_SET_USER_MEMORY_REGION of \(bytes >> 20) MiB")
        }
    }
}
