import CLinux
import CZydis
import Machine

/// What a person needs to see of a vCPU that stopped: registers, the code at RIP, where that is, and who called it.
///
/// The guest may have left anything in registers and memory; every look at its memory is a bounds-checked page walk.
struct GuestDiagnosis {
    let lines: [String]

    init(vcpu: borrowing VirtualCPU, memory: GuestMemory, kernel: KernelImage) {
        guard let regs = try? vcpu.registers(), let sregs = try? vcpu.specialRegisters() else {
            lines = ["the vCPU's registers could not be read"]
            return
        }
        let walk = GuestPageWalk(memory: memory, root: sregs.cr3)
        // Code can be read where the tables have four levels, and where there are none.
        let isPaged = sregs.cr0 & 1 << 31 != 0
        let isLong = sregs.efer & 1 << 10 != 0
        let linear = sregs.cs.l != 0 && isLong ? regs.rip : (sregs.cs.base &+ regs.rip) & 0xFFFF_FFFF
        var lines = Self.registers(regs, sregs)
        if vcpu.isHalted { lines.append("the vCPU waits in HLT, IF=\(regs.rflags >> 9 & 1)") }
        var events = kvm_vcpu_events()
        if clinux_kvm_get_events(vcpu.descriptor.rawValue, &events) == 0, events.exception.injected != 0 {
            let error = hex(UInt64(events.exception.error_code))
            let code = events.exception.has_error_code != 0 ? ", error code \(error)" : ""
            lines.append("exception \(events.exception.nr) was being delivered\(code)")
        }
        lines.append("at \(kernel.describe(regs.rip)), ring \(sregs.cs.selector & 3):")
        if isPaged && isLong {
            lines += Self.disassembly(walk.read(linear, count: 48), at: regs.rip, Self.machineMode(sregs))
            lines += Self.backtrace(from: regs, walk: walk, kernel: kernel)
        } else if !isPaged {
            let code = try? memory.readBytes(at: GuestPhysicalAddress(linear), count: 48)
            lines += Self.disassembly(code ?? [], at: regs.rip, Self.machineMode(sregs))
        } else {
            lines.append("  32-bit paging; no disassembly")
        }
        self.lines = lines
    }

    private static func registers(_ regs: kvm_regs, _ sregs: kvm_sregs) -> [String] {
        func row(_ pairs: [(String, UInt64)]) -> String {
            pairs.map { "\($0.0)=\(padded($0.1))" }.joined(separator: " ")
        }
        return [
            row([("RIP", regs.rip), ("RSP", regs.rsp), ("RFL", regs.rflags)]),
            row([("RAX", regs.rax), ("RBX", regs.rbx), ("RCX", regs.rcx), ("RDX", regs.rdx)]),
            row([("RSI", regs.rsi), ("RDI", regs.rdi), ("RBP", regs.rbp), ("R8 ", regs.r8)]),
            row([("R9 ", regs.r9), ("R10", regs.r10), ("R11", regs.r11), ("R12", regs.r12)]),
            row([("R13", regs.r13), ("R14", regs.r14), ("R15", regs.r15)]),
            row([("CR0", sregs.cr0), ("CR2", sregs.cr2), ("CR3", sregs.cr3), ("CR4", sregs.cr4)]),
            "EFER=\(hex(sregs.efer)) CS=\(hex(UInt64(sregs.cs.selector))) SS=\(hex(UInt64(sregs.ss.selector)))"
                + " FS.base=\(hex(sregs.fs.base)) GS.base=\(hex(sregs.gs.base))"
                + " GDT=\(hex(sregs.gdt.base))+\(hex(UInt64(sregs.gdt.limit)))"
                + " IDT=\(hex(sregs.idt.base))+\(hex(UInt64(sregs.idt.limit)))",
        ]
    }

    /// How the CPU reads code: CS.L, CS.D, EFER.LMA and CR0.PE.
    private static func machineMode(_ sregs: kvm_sregs) -> ZydisMachineMode {
        if sregs.efer & 1 << 10 != 0 && sregs.cs.l != 0 { return ZYDIS_MACHINE_MODE_LONG_64 }
        if sregs.cs.db != 0 { return ZYDIS_MACHINE_MODE_LEGACY_32 }
        return sregs.cr0 & 1 == 0 ? ZYDIS_MACHINE_MODE_REAL_16 : ZYDIS_MACHINE_MODE_LEGACY_16
    }

    /// Up to four instructions from `address` on.
    private static func disassembly(_ code: [UInt8], at address: UInt64, _ mode: ZydisMachineMode) -> [String] {
        guard !code.isEmpty else { return ["  no code is mapped there"] }
        var lines: [String] = []
        var offset = 0
        while offset < code.count && lines.count < 4 {
            var instruction = ZydisDisassembledInstruction()
            let status = code.withUnsafeBytes { bytes in
                ZydisDisassembleIntel(
                    mode, address &+ UInt64(offset), bytes.baseAddress! + offset,
                    bytes.count - offset, &instruction)
            }
            // Bit 31 of a ZyanStatus says that it is an error (Zycore/Status.h).
            guard status & 0x8000_0000 == 0, instruction.info.length > 0 else {
                let bytes = code[offset...].prefix(15).map { hexByte($0) }.joined(separator: " ")
                lines.append("  \(padded(address &+ UInt64(offset)))  \(bytes)  (not an instruction)")
                break
            }
            let length = Int(instruction.info.length)
            let bytes = code[offset..<min(offset + length, code.count)].map { hexByte($0) }.joined(separator: " ")
            let text = withUnsafeBytes(of: instruction.text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            lines.append("  \(padded(address &+ UInt64(offset)))  \(bytes)  \(text)")
            offset += length
        }
        return lines
    }

    /// Return addresses along the frame-pointer chain, while it goes up the stack and stays mapped.
    private static func backtrace(from regs: kvm_regs, walk: GuestPageWalk, kernel: KernelImage) -> [String] {
        var lines: [String] = []
        var frame = regs.rbp
        while lines.count < 16, frame != 0, frame % 8 == 0 {
            let words = walk.read(frame, count: 16)
            guard words.count == 16 else { break }
            let (next, caller) = words.withUnsafeBytes {
                ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            }
            guard caller != 0 else { break }
            lines.append("  called from \(kernel.describe(caller))")
            guard next > frame else { break }
            frame = next
        }
        return lines
    }

    private static func padded(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private static func hexByte(_ value: UInt8) -> String {
        (value < 16 ? "0" : "") + String(value, radix: 16)
    }
}

private func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
