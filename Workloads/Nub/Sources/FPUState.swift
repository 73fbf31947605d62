import CPU

/// x87, SSE, AVX and AVX-512 state of the processes.
///
/// Ring 0 uses none of it, so the registers keep the state of the last process until another one runs. Where XSAVE does
/// not work in ring 0 (`BootQuirks.noKernelXSave`), a few instructions in a page of the process's own address space
/// do it in ring 3, on the process's own area, and come back by a system call (entry.S).
struct FPUState {
    private enum Method {
        case xsave
        case ring3
        case fxsave
    }

    /// Components in XCR0 that Nub switches: x87, SSE, AVX, opmask, ZMM_Hi256, Hi16_ZMM. In the standard format they
    /// end at byte 2688 (SDM vol. 1 13.5), so an area fits in a frame.
    private static let components: UInt64 = 0xE7
    private static let areaBytes = 2688

    private var method = Method.fxsave
    private var mask: UInt64 = 0
    /// Whose state the registers hold.
    private var owner: ProcessPointer?

    mutating func start(quirks: UInt64) {
        guard processor.hasXSave else { return }
        // A host that presets XCR0 may still show this bit as off; writing it again is harmless, and CPUID follows it.
        if quirks & BootQuirks.keepOSXSaveClear == 0 { cpu_write_cr4(cpu_read_cr4() | Processor.cr4OSXSave) }
        if quirks & BootQuirks.noXSetBV == 0 {
            mask = UInt64(cpu_cpuid(0xD, 0).eax) & FPUState.components
            if mask & 0xE0 != 0xE0 || mask & 4 == 0 { mask &= 7 }
            cpu_xsetbv(0, mask)
        } else {
            // What the host has set cannot be read in ring 0; asking for all components saves those that are on.
            mask = FPUState.components
        }
        method = quirks & BootQuirks.noKernelXSave != 0 ? .ring3 : .xsave
    }

    /// The state of a program that has just been started: FCW and MXCSR at their reset values (SDM vol. 1 13.6).
    static func initialize(_ area: Frame) {
        memset(area.raw, 0, UInt(areaBytes))
        area.raw.storeBytes(of: 0x037F, as: UInt16.self)
        area.raw.storeBytes(of: 0x1F80, toByteOffset: 24, as: UInt32.self)
    }

    /// Saves the registers if they are `process`'s; its address space is still loaded.
    mutating func save(leaving process: ProcessPointer) {
        if owner != process { return }
        store(process)
    }

    private func store(_ process: ProcessPointer) {
        let area = process.pointee.fpuArea
        switch method {
        case .xsave: cpu_xsave(area.raw, mask)
        case .fxsave: cpu_fxsave(area.raw)
        case .ring3: runStub(process, offset: 0)
        }
    }

    /// Gives `process` its registers; its address space is loaded.
    mutating func restore(entering process: ProcessPointer) {
        if owner == process { return }
        let area = process.pointee.fpuArea
        owner = process
        switch method {
        case .xsave: cpu_xrstor(area.raw, mask)
        case .fxsave: cpu_fxrstor(area.raw)
        case .ring3: runStub(process, offset: kernel_user_stub_restore_offset())
        }
    }

    /// The current process's state as it is now, in its area.
    func synchronize(_ process: ProcessPointer) {
        if owner == process { store(process) }
    }

    /// The current process continues with what is in its area.
    mutating func reload(_ process: ProcessPointer) {
        owner = nil
        restore(entering: process)
    }

    /// Makes the area of `child` a copy of the current state of `parent`.
    func copy(from parent: ProcessPointer, to child: ProcessPointer) {
        synchronize(parent)
        let area = parent.pointee.fpuArea.raw
        let target = child.pointee.fpuArea.raw
        // Components in their initial state (XSTATE_BV, SDM vol. 1 13.4.2) are not read by XRSTOR; the offsets are
        // those of the standard format: SSE ends at 512, AVX at 832.
        let inUse = method == .fxsave ? 0 : area.load(fromByteOffset: 512, as: UInt64.self)
        memcpy(target, area, inUse < 4 ? 576 : inUse < 8 ? 832 : UInt(FPUState.areaBytes))
    }

    /// `process` will not run again.
    mutating func forget(_ process: ProcessPointer) {
        if owner == process { owner = nil }
    }

    var savedBytes: Int { method == .fxsave ? 512 : FPUState.areaBytes }

    /// Makes an area that came back from a program harmless: only known components, reserved bytes zero, a legal MXCSR.
    func sanitize(_ area: Frame) {
        let raw = area.raw
        raw.storeBytes(of: raw.load(fromByteOffset: 24, as: UInt32.self) & 0xFFBF, toByteOffset: 24, as: UInt32.self)
        if method == .fxsave { return }
        let header = raw + 512
        let inUse = header.load(as: UInt64.self) & mask & (method == .ring3 ? 7 : .max)
        memset(header, 0, 64)
        header.storeBytes(of: inUse, as: UInt64.self)
    }

    // MARK: Ring-3 stub

    private func runStub(_ process: ProcessPointer, offset: UInt64) {
        let space = process.pointee.space.unsafelyUnwrapped
        let flags = PageTableEntry.present | PageTableEntry.user | PageTableEntry.borrowed
        let code = KernelPageTables.physicalAddress(ofImage: addressOf(kernel_user_stub_page())).rawValue | flags
        let area =
            process.pointee.fpuArea.address.rawValue | flags | PageTableEntry.writable | PageTableEntry.noExecute
        guard let codeEntry = space.pointee.entry(at: Layout.stubCode),
            let areaEntry = space.pointee.entry(at: Layout.stubArea)
        else {
            // No page tables for the stub: the process cannot go on. Its parent sees SIGKILL.
            process.pointee.outOfMemory = true
            Signals.send(SIGKILL, to: process, .fromKernel)
            return
        }
        space.pointee.set(codeEntry, code)
        if areaEntry.pointee.rawValue & ~0x60 != area {
            let wasMapped = !areaEntry.pointee.isEmpty
            space.pointee.set(areaEntry, area)
            if wasMapped { cpu_invlpg(Layout.stubArea) }
        }
        cpu_run_user_stub(Layout.stubCode &+ offset, Layout.stubArea, mask)
    }

    /// Drops the stub's entries from a space that is going away.
    func unmapStub(_ space: UnsafeMutablePointer<AddressSpace>) {
        if method == .ring3 {
            space.pointee.releasePages(Layout.stubArea, Layout.stubCode &+ pageBytes)
        }
    }
}

nonisolated(unsafe) var fpu = FPUState()
