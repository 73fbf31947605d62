import Machine
import Testing

@testable import HardwareVMM
@testable import Host

/// The tables of exit reasons against the manuals, and against what the running kernel calls them.
@Suite struct ExitNameTests {
    @Test func noNumberStandsTwice() {
        #expect(Set(VMXExitReason.table.map(\.number)).count == VMXExitReason.table.count)
        #expect(Set(VMXExitReason.table.map(\.name)).count == VMXExitReason.table.count)
        #expect(Set(SVMExitCode.table.map(\.number)).count == SVMExitCode.table.count)
        #expect(Set(SVMExitCode.table.map(\.name)).count == SVMExitCode.table.count)
    }

    /// Intel SDM vol. 3, appendix C: the numbers from 0 to 85 that are not reserved.
    @Test func everyVMXReasonOfTheManualIsThere() {
        let reserved: Set<UInt16> = [35, 38, 42, 71, 82, 83]
        for number in UInt16(0)...85 {
            #expect((VMXExitReason.row(number) == nil) == reserved.contains(number), "reason \(number)")
        }
        #expect(VMXExitReason.row(86) == nil)
    }

    /// AMD APM vol. 2, appendix C: codes 0 to 0xA6 with these gaps, 0x400 to 0x403, -1 and -2.
    @Test func everySVMCodeOfTheManualIsThere() {
        for number in UInt32(0)...0xA6 { #expect(SVMExitCode.row(number) != nil, "code \(number)") }
        for number in UInt32(0x400)...0x403 { #expect(SVMExitCode.row(number) != nil) }
        #expect(SVMExitCode.row(0xA7) == nil && SVMExitCode.row(0x3FF) == nil && SVMExitCode.row(0x404) == nil)
    }

    @Test(arguments: [
        (UInt16(10), "CPUID", ExitReason.cpuid), (12, "HLT", .halt), (14, "INVLPG", .tlbInvalidate),
        (18, "VMCALL", .hypercall), (28, "CR_ACCESS", .controlRegister), (29, "DR_ACCESS", .debugRegister),
        (30, "IO_INSTRUCTION", .portIO), (31, "MSR_READ", .msrRead), (32, "MSR_WRITE", .msrWrite),
        (46, "GDTR_IDTR", .descriptorTable), (48, "EPT_VIOLATION", .shadowFill), (49, "EPT_MISCONFIG", .mmio),
        (1, "EXTERNAL_INTERRUPT", .externalInterrupt), (7, "INTERRUPT_WINDOW", .interruptDelivery),
        (2, "TRIPLE_FAULT", .shutdown), (52, "PREEMPTION_TIMER", .externalInterrupt),
    ])
    func vmx(number: UInt16, name: String, reason: ExitReason) {
        let cause = KernelExitCause(isa: 1, code: UInt32(number), information: 0, interruption: 0)
        #expect(cause.name == name)
        #expect(cause.reason == reason)
    }

    @Test func vmxExceptionsGoByTheirVector() {
        func reason(_ interruption: UInt32) -> ExitReason {
            KernelExitCause(isa: 1, code: 0, information: 0, interruption: interruption).reason
        }
        #expect(reason(0x8000_0306) == .exception)  // hardware exception 6
        #expect(reason(0x8000_0B0E) == .shadowFill)  // hardware exception 14 with error code
        #expect(reason(0x8000_0202) == .externalInterrupt)  // NMI
    }

    /// A failed entry has bit 31 set (SDM vol. 3, 26.9.1).
    @Test func vmxFailedEntriesKeepTheirReason() {
        #expect(KernelExitCause(isa: 1, code: 0x8000_0021, information: 0, interruption: 0).name == "INVALID_STATE")
    }

    @Test(arguments: [
        (UInt32(0x10), "write_cr0", ExitReason.controlRegister), (0x08, "read_cr8", .controlRegister),
        (0x37, "write_dr7", .debugRegister), (0x46, "UD excp", .exception), (0x4E, "PF excp", .shadowFill),
        (0x60, "interrupt", .externalInterrupt), (0x64, "vintr", .interruptDelivery), (0x72, "cpuid", .cpuid),
        (0x74, "iret", .interruptReturn), (0x78, "hlt", .halt), (0x79, "invlpg", .tlbInvalidate), (0x7B, "io", .portIO),
        (0x7F, "shutdown", .shutdown), (0x81, "hypercall", .hypercall), (0x400, "npf", .shadowFill),
        (0x94, "write_cr4_trap", .controlRegister), (0xFFFF_FFFF, "invalid_guest_state", .other),
    ])
    func svm(code: UInt32, name: String, reason: ExitReason) {
        let cause = KernelExitCause(isa: 2, code: code, information: 0, interruption: 0)
        #expect(cause.name == name)
        #expect(cause.reason == reason)
    }

    @Test func svmTellsReadsOfMSRsFromWrites() {
        #expect(KernelExitCause(isa: 2, code: 0x7C, information: 0, interruption: 0).reason == .msrRead)
        #expect(KernelExitCause(isa: 2, code: 0x7C, information: 1, interruption: 0).reason == .msrWrite)
    }

    @Test func unknownNumbersAreNamedAsSuch() {
        #expect(KernelExitCause(isa: 1, code: 99, information: 0, interruption: 0).name == "VMX exit 99")
        #expect(KernelExitCause(isa: 2, code: 0x500, information: 0, interruption: 0).name == "SVM exit 0x500")
    }

    /// The kernel that runs the tests prints these names itself; where its list is readable, ours must agree.
    @Test func namesAreThoseOfTheRunningKernel() throws {
        guard let format = HostFile.text("/sys/kernel/tracing/events/kvm/kvm_exit/format") else { return }
        var compared = 0
        for match in format.matches(of: /\{ (0x[0-9a-f]+|[0-9]+)(?: \+ ([0-9]+))?, "([^"]+)" \}/) {
            let isVMX = !match.1.hasPrefix("0x")
            let base = isVMX ? UInt32(match.1) : UInt32(match.1.dropFirst(2), radix: 16)
            // Calls of confidential guests, which share a field with exit codes, and a code that the kernel misspells.
            guard let base, base < 0x8000_0000, match.3 != "read_rt", match.3 != "write_rt" else { continue }
            let number = base + (match.2.flatMap { UInt32($0) } ?? 0)
            let name = isVMX ? VMXExitReason.row(UInt16(number))?.name : SVMExitCode.row(number)?.name
            #expect(name == String(match.3), "number \(number)")
            compared += 1
        }
        #expect(compared > 100)
    }
}
