import Glibc
import Host

extension Jail {
    /// The jail of a process whose guest runs under KVM: KVM's ioctls and what every VMM needs, nothing else.
    public static func kvm() -> Jail {
        // First, as KVM_RUN goes through it each time. KVMIO is 0xAE, in bits 15:8 of a request (linux/kvm.h, asm/ioctl.h).
        var filter = SeccompFilter()
        filter.add(
            .ioctl, .allow, if: .init(argument: 1, mask: 0xFF00, equals: 0xAE00), otherwise: .refuse(errno: ENOTTY))
        filter.append(.vmmBase())
        return Jail(filter: filter)
    }
}
