import CLinux
import Glibc
import Machine

/// The vCPU's state as tests set it up before `run` and read it afterwards.
package struct InspectedState {
    package var registers: [UInt64]
    package var rip: UInt64
    package var flags: UInt64
    package var privilege: UInt8
    package var codeSelector: UInt16
    package var stackSelector: UInt16
    /// ES, DS, FS and GS at their encoding's number.
    package var dataSelectors: [UInt16]
    package var fsBase: UInt64
    package var gsBase: UInt64
    package var cr0: UInt64
    package var cr2: UInt64
    package var cr3: UInt64
    package var cr4: UInt64
    package var efer: UInt64
    package var xcr0: UInt64
    package var gdt: (base: UInt64, limit: UInt16)
    package var idt: (base: UInt64, limit: UInt16)
    package var taskBase: UInt64
    /// An XSAVE image in standard format.
    package var vector: [UInt8]
}

extension SoftwareMachine {
    package var inspectedMemory: GuestMemory { memory }

    package var inspectedState: InspectedState {
        get {
            let state = cpu.state.pointee
            let image = UnsafeRawBufferPointer(
                start: UnsafeRawPointer(bitPattern: UInt(state.xsave)), count: Int(state.xsave_capacity))
            return InspectedState(
                registers: (0..<16).map { cpu[$0] }, rip: cpu.rip, flags: cpu.flags, privilege: cpu.privilege,
                codeSelector: cpu.codeSelector, stackSelector: cpu.stackSelector, dataSelectors: cpu.selectors,
                fsBase: state.guest_fs_base,
                gsBase: state.guest_gs_base, cr0: cpu.cr0, cr2: cpu.cr2, cr3: cpu.cr3, cr4: cpu.cr4, efer: cpu.efer,
                xcr0: cpu.xcr0, gdt: (cpu.gdtBase, cpu.gdtLimit), idt: (cpu.idtBase, cpu.idtLimit),
                taskBase: cpu.taskBase, vector: [UInt8](image))
        }
        set {
            for (index, value) in newValue.registers.enumerated() { cpu[index] = value }
            cpu.rip = newValue.rip
            cpu.flags = newValue.flags
            cpu.privilege = newValue.privilege
            cpu.codeSelector = newValue.codeSelector
            cpu.stackSelector = newValue.stackSelector
            cpu.selectors = newValue.dataSelectors
            cpu.state.pointee.guest_fs_base = newValue.fsBase
            cpu.state.pointee.guest_gs_base = newValue.gsBase
            cpu.cr0 = newValue.cr0
            cpu.cr2 = newValue.cr2
            cpu.cr3 = newValue.cr3
            cpu.cr4 = newValue.cr4
            cpu.efer = newValue.efer
            cpu.xcr0 = newValue.xcr0
            (cpu.gdtBase, cpu.gdtLimit) = newValue.gdt
            (cpu.idtBase, cpu.idtLimit) = newValue.idt
            cpu.taskBase = newValue.taskBase
            cpu.taskLimit = 0x67
            newValue.vector.withUnsafeBytes { source in
                let target = UnsafeMutableRawPointer(bitPattern: UInt(cpu.state.pointee.xsave))!
                target.copyMemory(
                    from: source.baseAddress!, byteCount: min(source.count, Int(cpu.state.pointee.xsave_capacity)))
            }
        }
    }
}
