import CZydis
import GuestInterface
import Machine

/// A code or data segment descriptor, 8 bytes of a descriptor table (Intel SDM vol. 3, 3.4.5).
struct SegmentDescriptor {
    var raw: UInt64

    var base: UInt64 { raw >> 16 & 0xFF_FFFF | raw >> 32 & 0xFF00_0000 }
    var isPresent: Bool { raw & 1 << 47 != 0 }
    var privilege: UInt8 { UInt8(raw >> 45 & 3) }
    /// Code or data, not a system descriptor.
    var isCodeOrData: Bool { raw & 1 << 44 != 0 }
    var isCode: Bool { isCodeOrData && raw & 1 << 43 != 0 }
    var isWritableData: Bool { isCodeOrData && !isCode && raw & 1 << 41 != 0 }
    var isReadable: Bool { isCodeOrData && (!isCode || raw & 1 << 41 != 0) }
    var isConforming: Bool { isCode && raw & 1 << 42 != 0 }
    var isLong: Bool { raw & 1 << 53 != 0 }
    var type: UInt8 { UInt8(raw >> 40 & 15) }
    /// In bytes, the granularity bit applied.
    var limit: UInt64 {
        let field = raw & 0xFFFF | raw >> 32 & 0xF_0000
        return raw & 1 << 55 != 0 ? field << 12 | 0xFFF : field
    }
}

/// Segment registers, descriptor tables and what asks about them.
extension SoftwareMachine {
    // MARK: Descriptor tables

    /// The descriptor that a selector names. Nil: beyond the table's limit, or null.
    func descriptor(_ selector: UInt16) throws(GuestException) -> SegmentDescriptor? {
        guard selector & ~3 != 0, let address = descriptorAddress(selector) else { return nil }
        return SegmentDescriptor(raw: try linear.load(address, cpu.pagingMode))
    }

    private func descriptorAddress(_ selector: UInt16) -> UInt64? {
        let index = UInt64(selector & ~7)
        if selector & 4 != 0 {
            guard cpu.localSelector & ~3 != 0, index + 7 <= UInt64(cpu.localLimit) else { return nil }
            return cpu.localBase &+ index
        }
        guard index + 7 <= UInt64(cpu.gdtLimit) else { return nil }
        return cpu.gdtBase &+ index
    }

    static func selectorFault(_ vector: UInt8, _ selector: UInt16) -> GuestException {
        GuestException(vector: vector, errorCode: UInt32(selector & ~3))
    }

    /// The CPU marks a descriptor it loads as accessed.
    private func markAccessed(_ selector: UInt16, _ found: SegmentDescriptor) throws(GuestException) {
        guard found.raw & 1 << 40 == 0, let address = descriptorAddress(selector) else { return }
        if let page = try linear.store(found.raw | 1 << 40, at: address, cpu.pagingMode) { noticeWrite(to: page) }
    }

    // MARK: Loading

    /// Loads ES, SS, DS, FS or GS (0, 2, 3, 4, 5) as MOV does (Intel SDM vol. 2, MOV). Limits do not count in 64-bit mode, nor do
    /// bases but those of FS and GS. A null selector leaves their bases (AMD) or clears them (Intel): ours clears them.
    func loadSegment(_ number: Int, _ selector: UInt16) throws(GuestException) {
        if selector & ~3 == 0 {
            // SS may be null in 64-bit ring 0, with its own privilege level.
            if number == 2, cpu.privilege == 3 || selector & 3 != UInt16(cpu.privilege) { throw .protection }
            setSegment(number, selector, base: 0)
            return
        }
        let fault = Self.selectorFault(GuestException.generalProtection, selector)
        guard let found = try descriptor(selector) else { throw fault }
        let requested = UInt8(selector & 3)
        if number == 2 {
            guard found.isWritableData, requested == cpu.privilege, found.privilege == cpu.privilege else {
                throw fault
            }
            guard found.isPresent else { throw Self.selectorFault(GuestException.stackFault, selector) }
        } else {
            guard found.isReadable, found.isConforming || found.privilege >= max(cpu.privilege, requested) else {
                throw fault
            }
            guard found.isPresent else { throw Self.selectorFault(GuestException.segmentNotPresent, selector) }
        }
        try markAccessed(selector, found)
        setSegment(number, selector, base: found.base)
    }

    private func setSegment(_ number: Int, _ selector: UInt16, base: UInt64) {
        switch number {
        case 2:
            cpu.stackSelector = selector
            // Neither interrupts nor debug exceptions between this and the load of RSP that should follow.
            cpu.interruptShadow = true
            cpu.debugShadow = true
            return
        case 4: cpu.state.pointee.guest_fs_base = base
        case 5: cpu.state.pointee.guest_gs_base = base
        default: break
        }
        cpu.selectors[number] = selector
    }

    /// MOV to a segment register.
    func emulateSegmentLoad(_ info: ZydisDecodedInstruction, next: UInt64) throws(GuestException) {
        let number = Int(info.raw.modrm.reg)
        guard number != 1, number < 6 else { throw .undefined }
        try loadSegment(number, UInt16(truncatingIfNeeded: try read(fetch.operands[1], info, next: next)))
    }

    /// MOV from a segment register: 16 bits to memory, the operand size to a register.
    func emulateSegmentStore(_ info: ZydisDecodedInstruction, next: UInt64) throws(GuestException) {
        let number = Int(info.raw.modrm.reg)
        guard number < 6 else { throw .undefined }
        let value = UInt64(number == 1 ? cpu.codeSelector : number == 2 ? cpu.stackSelector : cpu.selectors[number])
        try store16(value, info, next: next)
    }

    /// LSS, LFS, LGS: offset and selector from memory.
    func emulateFarPointerLoad(_ info: ZydisDecodedInstruction, next: UInt64) throws(GuestException) {
        guard fetch.operands[1].type == ZYDIS_OPERAND_TYPE_MEMORY else { throw .undefined }
        let address = effectiveAddress(fetch.operands[1], info, next: next)
        let width = farOperandWidth(info)
        let target = fetch.operands[0].reg.value
        let offset = try read(address, bytes: Int(width) / 8)
        let selector = try read(address &+ UInt64(width) / 8, bytes: 2)
        let number =
            info.mnemonic == ZYDIS_MNEMONIC_LSS ? 2 : info.mnemonic == ZYDIS_MNEMONIC_LFS ? 4 : 5
        try loadSegment(number, UInt16(truncatingIfNeeded: selector))
        if let general = Self.generalRegister(target) { write(offset, to: general, bits: width) }
    }

    /// Operand size of far pointers: AMD's CPUs know no 64-bit ones (AMD APM vol. 3, LFS, CALL far) and take 32 bits.
    func farOperandWidth(_ info: ZydisDecodedInstruction) -> UInt16 {
        info.operand_width == 64 && !VirtualCPUID.hasFarPointers64 ? 32 : UInt16(info.operand_width)
    }

    // MARK: Bases

    /// RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE (Intel SDM vol. 2).
    func emulateSegmentBase(_ info: ZydisDecodedInstruction) throws(GuestException) {
        guard cpu.cr4 & 1 << 16 != 0 else { throw .undefined }
        let general = Int(info.raw.modrm.rm | info.raw.rex.B << 3)
        let isFS = info.mnemonic == ZYDIS_MNEMONIC_RDFSBASE || info.mnemonic == ZYDIS_MNEMONIC_WRFSBASE
        if info.mnemonic == ZYDIS_MNEMONIC_RDFSBASE || info.mnemonic == ZYDIS_MNEMONIC_RDGSBASE {
            let base = isFS ? cpu.state.pointee.guest_fs_base : cpu.state.pointee.guest_gs_base
            cpu[general] = info.operand_width == 64 ? base : base & 0xFFFF_FFFF
            return
        }
        let base = info.operand_width == 64 ? cpu[general] : cpu[general] & 0xFFFF_FFFF
        guard AddressMap.isCanonical(base) else { throw .protection }
        if isFS { cpu.state.pointee.guest_fs_base = base } else { cpu.state.pointee.guest_gs_base = base }
    }

    // MARK: Tables

    /// LGDT and LIDT.
    func emulateTableLoad(_ info: ZydisDecodedInstruction, next: UInt64) throws(GuestException) {
        let address = effectiveAddress(fetch.operands[0], info, next: next)
        let limit = UInt16(truncatingIfNeeded: try read(address, bytes: 2))
        let base = try read(address &+ 2, bytes: 8)
        guard AddressMap.isCanonical(base) else { throw .protection }
        if info.mnemonic == ZYDIS_MNEMONIC_LGDT {
            cpu.gdtLimit = limit
            cpu.gdtBase = base
        } else {
            cpu.idtLimit = limit
            cpu.idtBase = base
        }
    }

    /// SGDT and SIDT: limit and base, 10 bytes.
    func emulateTableStore(_ info: ZydisDecodedInstruction, next: UInt64) throws(GuestException) {
        let isGDT = info.mnemonic == ZYDIS_MNEMONIC_SGDT
        let address = effectiveAddress(fetch.operands[0], info, next: next)
        // The second part first: should it fault, nothing is written.
        try write(isGDT ? cpu.gdtBase : cpu.idtBase, at: address &+ 2, bytes: 8)
        try write(UInt64(isGDT ? cpu.gdtLimit : cpu.idtLimit), at: address, bytes: 2)
    }

    /// STR, SLDT and SMSW: 16 bits to memory; to a register its operand size, SMSW with the upper bits of CR0.
    func emulateSystemStore(_ info: ZydisDecodedInstruction, next: UInt64) throws(GuestException) {
        switch info.mnemonic {
        case ZYDIS_MNEMONIC_STR: try store16(UInt64(cpu.taskSelector), info, next: next)
        case ZYDIS_MNEMONIC_SLDT: try store16(UInt64(cpu.localSelector), info, next: next)
        default: try store16(cpu.cr0, info, next: next)
        }
    }

    private func store16(_ value: UInt64, _ info: ZydisDecodedInstruction, next: UInt64) throws(GuestException) {
        let operand = fetch.operands[0]
        if operand.type == ZYDIS_OPERAND_TYPE_MEMORY {
            try write(
                value, at: effectiveAddress(operand, info, next: next), bytes: 2,
                isStack: operand.mem.segment == ZYDIS_REGISTER_SS)
        } else if let target = Self.generalRegister(operand.reg.value) {
            write(value, to: target, bits: UInt16(info.operand_width))
        }
    }

    /// LTR: base and limit of the task-state segment from its 16-byte descriptor (Intel SDM vol. 3, 7.2.3).
    func loadTask(_ selector: UInt16) throws(GuestException) {
        let (low, high) = try systemDescriptor(selector, types: [9])
        cpu.taskSelector = selector
        cpu.taskBase = low.base | high << 32
        cpu.taskLimit = UInt32(truncatingIfNeeded: low.limit)
        // Busy from now on.
        let address = cpu.gdtBase &+ UInt64(selector & ~7)
        if let page = try linear.store(low.raw | 1 << 41, at: address, cpu.pagingMode) { noticeWrite(to: page) }
    }

    /// LLDT: a null selector means that there is none.
    func loadLocalTable(_ selector: UInt16) throws(GuestException) {
        if selector & ~3 == 0 {
            cpu.localSelector = selector
            return
        }
        let (low, high) = try systemDescriptor(selector, types: [2])
        cpu.localSelector = selector
        cpu.localBase = low.base | high << 32
        cpu.localLimit = UInt32(truncatingIfNeeded: low.limit)
    }

    /// A 16-byte system descriptor of the GDT and the upper half of its base.
    private func systemDescriptor(_ selector: UInt16, types: [UInt8]) throws(GuestException) -> (
        low: SegmentDescriptor, high: UInt64
    ) {
        let fault = Self.selectorFault(GuestException.generalProtection, selector)
        guard selector & ~3 != 0 else { throw .protection }
        guard selector & 4 == 0, UInt64(selector & ~7) + 15 <= UInt64(cpu.gdtLimit) else { throw fault }
        let address = cpu.gdtBase &+ UInt64(selector & ~7)
        let low = SegmentDescriptor(raw: try linear.load(address, cpu.pagingMode))
        let high: UInt64 = try linear.load(address &+ 8, cpu.pagingMode)
        guard !low.isCodeOrData, types.contains(low.type) else { throw fault }
        guard low.isPresent else { throw Self.selectorFault(GuestException.segmentNotPresent, selector) }
        return (low, high & 0xFFFF_FFFF)
    }

    // MARK: Questions

    /// LAR, LSL, VERR, VERW: ZF says whether the selector's segment is visible from here, and what is asked of it.
    func emulateSegmentQuery(_ info: ZydisDecodedInstruction, next: UInt64) throws(GuestException) {
        let isLoad = info.mnemonic == ZYDIS_MNEMONIC_LAR || info.mnemonic == ZYDIS_MNEMONIC_LSL
        // The selector is 16 bits, whatever the operand size.
        let operand = fetch.operands[isLoad ? 1 : 0]
        let target = fetch.operands[0].reg.value
        var value: UInt64
        if operand.type == ZYDIS_OPERAND_TYPE_MEMORY {
            value = try read(
                effectiveAddress(operand, info, next: next), bytes: 2,
                isStack: operand.mem.segment == ZYDIS_REGISTER_SS)
        } else {
            value = register(operand.reg.value)
        }
        let selector = UInt16(truncatingIfNeeded: value)
        cpu.flags &= ~Flags.zero
        guard let found = try descriptor(selector) else { return }
        let isVisible = found.isConforming || found.privilege >= max(cpu.privilege, UInt8(selector & 3))
        guard isVisible else { return }
        switch info.mnemonic {
        case ZYDIS_MNEMONIC_VERR:
            guard found.isReadable else { return }
        case ZYDIS_MNEMONIC_VERW:
            guard found.isWritableData else { return }
        case ZYDIS_MNEMONIC_LSL:
            // LDT and available or busy 64-bit TSS are the system segments that have a limit.
            guard found.isCodeOrData || [2, 9, 11].contains(found.type) else { return }
            value = found.limit
        default:
            guard found.isCodeOrData || [2, 9, 11, 12].contains(found.type) else { return }
            value = found.raw >> 32 & 0xFF_FF00
        }
        cpu.flags |= Flags.zero
        if isLoad, let general = Self.generalRegister(target) {
            write(value, to: general, bits: UInt16(info.operand_width))
        }
    }
}
