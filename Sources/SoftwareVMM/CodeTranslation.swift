import GuestInterface
import Host
import Machine
import Translator

/// When guest code is translated, linked and dropped.
extension SoftwareMachine {
    var ring: CodeCache.Ring { cpu.privilege == 3 ? .user : .supervisor }

    /// A direct branch to a block that was not linked: link it, unless translating it dropped the branch itself.
    func chain() throws(MachineStop) {
        exitReason = .dispatch
        let identifier = cpu.state.pointee.exit_id
        cpu.rip = cache.target(ofExit: identifier)
        // A single step ends here.
        if stepping { return }
        let generation = cache.generation
        let target = cpu.rip
        let block = try blockForCurrentRIP()
        if cache.generation == generation && cpu.rip == target && mayLink(to: target)
            && stress?.leavesUnlinked() != true
        {
            cache.link(exit: identifier, to: block)
        }
    }

    func indirect() throws(MachineStop) {
        exitReason = .dispatch
        cpu.rip = cpu.state.pointee.target
        if stepping { return }
        let block = try blockForCurrentRIP()
        if mayEnterInTable { cache.enterInTable(block) }
    }

    /// The block at `cpu.rip`, translated now if need be. Faults of the fetch go to the guest, whose handler is then the block.
    func blockForCurrentRIP() throws(MachineStop) -> Int {
        var attempts = 0
        while true {
            if let known = cache.find(cpu.rip, ring) { return known }
            do throws(GuestException) {
                return try translateBlock()
            } catch {
                attempts += 1
                guard attempts < 4 else { throw MachineStop(.tripleFault) }
                try deliver(error)
            }
        }
    }

    func translateBlock() throws(GuestException) -> Int {
        let begin = TimestampCounter.now()
        let mode = cpu.pagingMode
        let rip = cpu.rip
        let user = cpu.privilege == 3
        guard let page = try fetch.page(rip, user: user, mode) else { throw .protection }
        // Protect first, then read: a write that comes between is seen as one.
        let place = mark(rip, page.offset)
        var second: CodeCache.Place?
        let isSingle = stepsOverCodeWrite || tracer?.stepsThrough(rip) == true
        let translator =
            stepping ? translators.supervisorTrap : translators.translator(for: ring, single: isSingle)
        var bytes = page.bytes
        if let tracer { bytes = .init(rebasing: bytes.prefix(tracer.bytesTogether(from: rip, of: bytes.count))) }
        let currentRing = ring
        let isCallout = { (address: UInt64, code: UnsafeBufferPointer<UInt8>) in
            !self.sites.isEmpty && self.sites.isSite(FaultSites.Key(rip: address, ring: currentRing), code)
        }
        let block: TranslatedBlock
        do throws(TranslationError) {
            block = try translator.translate(rip, bytes: bytes, isCallout: isCallout)
        } catch {
            guard let joint = try fetch.acrossPages(rip, user: user, mode) else { throw .protection }
            second = mark(rip &+ 4096, joint.offsets.1)
            do throws(TranslationError) {
                bytes = joint.bytes
                block = try translator.translate(rip, bytes: bytes, isCallout: isCallout)
            } catch {
                throw .undefined
            }
        }
        let number = cache.insert(block, ring, at: place, and: second)
        if stepsOverCodeWrite { unprotectedBlocks.append(number) }
        tracer?.translated(block, ring: cpu.privilege, bytes: bytes, host: cache.blocks[number].host)
        let cycles = TimestampCounter.now() &- begin
        if keepsLedger { ledger.record(.translation, raw: RawExit.translator.rawValue, cycles: cycles) }
        // The exit that led here is not charged for it too: the ledger's times add up.
        exitTSC &+= cycles
        return number
    }

    /// Has the page of code at `address`, which lies at `offset` in RAM, protected against writes.
    private func mark(_ address: UInt64, _ offset: UInt64) -> CodeCache.Place {
        if !stepsOverCodeWrite, !shadow.markCode(offset) {
            pendingStop = MachineStop(.hostFailure("mprotect of a code page failed"))
        }
        return CodeCache.Place(
            address: address & ~0xFFF, offset: offset, isGlobal: shadow.isGlobal(address, cpu.pagingMode))
    }

    /// The page at `offset` in RAM, which code was translated from, is about to change.
    func dropCode(offset: UInt64) {
        cache.invalidate(offset: offset)
        shadow.unmarkCode(offset)
    }

    /// The VMM has written to the page at `offset` in RAM for the guest.
    func noticeWrite(to offset: UInt64) {
        if shadow.isCode(offset) { dropCode(offset: offset) }
    }

    /// The instruction at RIP, in translated code, writes to the page at `offset`, which code was translated from: maybe its own,
    /// so that it runs by itself with the page open, and its translation goes when it is done.
    func stepOverCodeWrite(offset: UInt64) {
        dropCode(offset: offset)
        stepsOverCodeWrite = true
    }

    /// Translations made while their pages were open to writes.
    func dropUnprotectedCode() {
        stepsOverCodeWrite = false
        for number in unprotectedBlocks { cache.remove(number) }
        unprotectedBlocks.removeAll(keepingCapacity: true)
    }

    /// CR3 was loaded (`all` false) or paging changed altogether.
    func dropTranslations(all: Bool) {
        if all { shadow.dropAll(cpu.pagingMode) } else { shadow.dropNonGlobal(cpu.pagingMode) }
        userFault = nil
        revalidateCode { all || !$0.isGlobal }
    }

    /// INVLPG.
    func invalidate(_ address: UInt64) {
        shadow.drop(address, cpu.pagingMode)
        // The largest page that it may be in.
        revalidateCode { $0.address >> 30 == address >> 30 }
    }

    /// Blocks may run only while each of their pages is where it was and may be executed.
    private func revalidateCode(where affected: (CodeCache.Page) -> Bool) {
        let mode = cpu.pagingMode
        cache.revalidate(where: affected) { page in
            guard let translation = linear.walk.look(up: page.address, mode) else { return false }
            return translation.rights.executable && (translation.rights.user || page.ring == .supervisor)
                && memory.fileOffset(of: GuestPhysicalAddress(translation.physical(page.address))) == page.offset
        }
    }
}
