import Glibc
import Host

extension Jail {
    /// The jail of a process whose guest runs under the software VMM: memory, clocks, the kick timer.
    ///
    /// Guest code runs in this process, so it can reach the VMM's own system-call instructions by a wild jump; what it can do
    /// there is what this filter allows. New executable memory is guest RAM only, since ring 3 runs directly from it.
    public static func software(_ machine: SoftwareMachine) -> Jail {
        var filter = SeccompFilter()
        let guestMemory = UInt32(bitPattern: machine.memory.fileDescriptor)
        // Shadow mappings go through here all the time, so they come first.
        filter.add(
            .mmap, .allow, if: .init(argument: 4, mask: .max, equals: guestMemory), otherwise: nil)
        // Rights of what they show to ring 3 change too. Below 8 TiB there is nothing but guest RAM.
        let userHalf = SeccompFilter.Condition(argument: 0, isUpperWord: true, mask: 0xFFFF_F800, equals: 0)
        filter.add(.mprotect, .allow, if: userHalf, otherwise: nil)
        filter.append(.vmmBase())
        // The end of a run gives the thread back: Syscall User Dispatch (PR 59) and CPUID faulting (ARCH_CPUID, 0x1012).
        filter.add(.prctl, .allow, if: .init(argument: 0, mask: .max, equals: 59))
        filter.add(.archPrctl, .allow, if: .init(argument: 0, mask: .max, equals: 0x1012))
        return Jail(
            filter: filter,
            memory: .init(
                // What is kept of translated blocks takes several times their code's bytes.
                privateBytes: (1 << 30) + 16 * UInt64(machine.cache.capacity),
                // Every page of RAM may be mapped in many places.
                addressSpaceBytes: (256 << 30) + 16 * machine.memory.bytes))
    }
}
