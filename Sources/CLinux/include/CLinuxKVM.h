// KVM system calls (Documentation/virt/kvm/api.rst). The request numbers are macros that Swift cannot import.
// Every function returns what ioctl returns: -1 with errno set on failure.
#pragma once
#include <errno.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <sys/ioctl.h>

// /dev/kvm
static inline int clinux_kvm_api_version(int kvm) { return ioctl(kvm, KVM_GET_API_VERSION, 0); }
static inline int clinux_kvm_create_vm(int kvm) { return ioctl(kvm, KVM_CREATE_VM, 0); }
static inline int clinux_kvm_run_bytes(int kvm) { return ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0); }
static inline int clinux_kvm_supported_cpuid(int kvm, struct kvm_cpuid2 *cpuid) {
    return ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
}
/// Also on a VM's descriptor.
static inline int clinux_kvm_check_extension(int fd, int capability) {
    return ioctl(fd, KVM_CHECK_EXTENSION, (unsigned long)capability);
}

// VM
static inline int clinux_kvm_create_irqchip(int vm) { return ioctl(vm, KVM_CREATE_IRQCHIP, 0); }
/// An 8254 that answers at port 0x61 too (api.rst 4.71).
static inline int clinux_kvm_create_pit(int vm) {
    struct kvm_pit_config config = {.flags = KVM_PIT_SPEAKER_DUMMY};
    return ioctl(vm, KVM_CREATE_PIT2, &config);
}
/// ISA lines to both controllers, the timer's (line 0) to pin 2 of the I/O APIC, the other pins to themselves.
static inline int clinux_kvm_route_pc_interrupts(int vm) {
    // A header and room for both controllers' inputs.
    unsigned char table[sizeof(struct kvm_irq_routing) + (16 + 24) * sizeof(struct kvm_irq_routing_entry)]
        __attribute__((aligned(8))) = {0};
    struct kvm_irq_routing *routing = (struct kvm_irq_routing *)table;
    unsigned count = 0;
    for (unsigned line = 0; line < 16; line++) {
        if (line == 2) continue; // the cascade
        struct kvm_irq_routing_entry *entry = &routing->entries[count++];
        entry->gsi = line;
        entry->type = KVM_IRQ_ROUTING_IRQCHIP;
        entry->u.irqchip.irqchip = line < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
        entry->u.irqchip.pin = line & 7;
    }
    for (unsigned line = 0; line < 24; line++) {
        if (line == 2) continue;
        struct kvm_irq_routing_entry *entry = &routing->entries[count++];
        entry->gsi = line;
        entry->type = KVM_IRQ_ROUTING_IRQCHIP;
        entry->u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
        entry->u.irqchip.pin = line == 0 ? 2 : line;
    }
    routing->nr = count;
    return ioctl(vm, KVM_SET_GSI_ROUTING, routing);
}
static inline int clinux_kvm_irq_line(int vm, unsigned line, unsigned level) {
    struct kvm_irq_level irq = {.irq = line, .level = level};
    return ioctl(vm, KVM_IRQ_LINE, &irq);
}
static inline int clinux_kvm_set_tss_address(int vm, unsigned long address) {
    return ioctl(vm, KVM_SET_TSS_ADDR, address);
}
static inline int clinux_kvm_set_identity_map(int vm, uint64_t address) {
    return ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &address);
}
static inline int clinux_kvm_set_memory(int vm, struct kvm_userspace_memory_region *region) {
    return ioctl(vm, KVM_SET_USER_MEMORY_REGION, region);
}
static inline int clinux_kvm_create_vcpu(int vm, unsigned long id) { return ioctl(vm, KVM_CREATE_VCPU, id); }

// vCPU
static inline int clinux_kvm_run(int vcpu) { return ioctl(vcpu, KVM_RUN, 0); }
static inline int clinux_kvm_get_regs(int vcpu, struct kvm_regs *regs) { return ioctl(vcpu, KVM_GET_REGS, regs); }
static inline int clinux_kvm_set_regs(int vcpu, struct kvm_regs *regs) { return ioctl(vcpu, KVM_SET_REGS, regs); }
static inline int clinux_kvm_get_sregs(int vcpu, struct kvm_sregs *sregs) { return ioctl(vcpu, KVM_GET_SREGS, sregs); }
static inline int clinux_kvm_set_sregs(int vcpu, struct kvm_sregs *sregs) { return ioctl(vcpu, KVM_SET_SREGS, sregs); }
static inline int clinux_kvm_set_xcrs(int vcpu, struct kvm_xcrs *xcrs) { return ioctl(vcpu, KVM_SET_XCRS, xcrs); }
static inline int clinux_kvm_set_cpuid(int vcpu, struct kvm_cpuid2 *cpuid) {
    return ioctl(vcpu, KVM_SET_CPUID2, cpuid);
}
/// Returns the number of MSRs read or written.
static inline int clinux_kvm_get_msrs(int vcpu, struct kvm_msrs *msrs) { return ioctl(vcpu, KVM_GET_MSRS, msrs); }
static inline int clinux_kvm_set_msrs(int vcpu, struct kvm_msrs *msrs) { return ioctl(vcpu, KVM_SET_MSRS, msrs); }
static inline int clinux_kvm_get_mp_state(int vcpu, struct kvm_mp_state *state) {
    return ioctl(vcpu, KVM_GET_MP_STATE, state);
}
static inline int clinux_kvm_get_events(int vcpu, struct kvm_vcpu_events *events) {
    return ioctl(vcpu, KVM_GET_VCPU_EVENTS, events);
}
static inline int clinux_kvm_set_tsc_offset(int vcpu, uint64_t offset) {
    struct kvm_device_attr attr = {0, KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, (uint64_t)(uintptr_t)&offset};
    return ioctl(vcpu, KVM_SET_DEVICE_ATTR, &attr);
}
/// Binary statistics (api.rst 4.133), of a VM or a vCPU.
static inline int clinux_kvm_stats_fd(int fd) { return ioctl(fd, KVM_GET_STATS_FD, 0); }
