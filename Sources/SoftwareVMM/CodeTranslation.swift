import GuestInterface
import Host
import Machine
import Translator

/// When ring-0 code is translated, linked and dropped.
extension SoftwareMachine {
    /// A direct branch to a block that was not linked: link it, unless translating it dropped the branch itself.
    func chain() throws(MachineStop) {
        exitReason = .dispatch
        let identifier = cpu.state.pointee.exit_id
        cpu.rip = cache.target(ofExit: identifier)
        let generation = cache.generation
        let target = cpu.rip
        let block = try blockForCurrentRIP()
        if cache.generation == generation && cpu.rip == target {
            cache.link(exit: identifier, to: block)
        }
    }

    func indirect() throws(MachineStop) {
        exitReason = .dispatch
        cpu.rip = cpu.state.pointee.target
        cache.enterInTable(try blockForCurrentRIP())
    }

    /// The block at `cpu.rip`, translated now if need be. Faults of the fetch go to the guest, whose handler is then the block.
    func blockForCurrentRIP() throws(MachineStop) -> Int {
        var attempts = 0
        while true {
            if let known = cache.find(cpu.rip) { return known }
            do throws(GuestException) {
                return try translateBlock()
            } catch {
                attempts += 1
                guard attempts < 4 else { throw MachineStop(.tripleFault) }
                try deliver(error)
            }
        }
    }

    private func translateBlock() throws(GuestException) -> Int {
        let begin = TimestampCounter.now()
        let mode = cpu.pagingMode
        let rip = cpu.rip
        guard let page = try fetch.page(rip, user: false, mode) else { throw .protection }
        // Protect first, then read: a write that comes between is seen as one.
        markCode(rip, page.offset)
        let translator = stepsOverCodeWrite ? stepper : self.translator
        let block: TranslatedBlock
        do throws(TranslationError) {
            block = try translator.translate(rip, bytes: page.bytes)
        } catch {
            guard let joint = try fetch.acrossPages(rip, user: false, mode) else { throw .protection }
            markCode((rip & ~0xFFF) &+ 4096, joint.offsets.1)
            do throws(TranslationError) {
                block = try translator.translate(rip, bytes: joint.bytes)
            } catch {
                throw .undefined
            }
        }
        let flushes = cache.flushes
        let number = cache.insert(block)
        if cache.flushes != flushes {
            forgetCodePages()
            markCode(rip, page.offset)
            if (rip &+ UInt64(block.guestBytes) &- 1) & ~0xFFF != rip & ~0xFFF,
                let next = try fetch.page((rip & ~0xFFF) &+ 4096, user: false, mode)
            {
                markCode((rip & ~0xFFF) &+ 4096, next.offset)
            }
        }
        let cycles = TimestampCounter.now() &- begin
        ledger.record(.translation, cycles: cycles)
        // The exit that led here is not charged for it too: the ledger's times add up.
        exitTSC &+= cycles
        return number
    }

    private func markCode(_ address: UInt64, _ offset: UInt64) {
        if stepsOverCodeWrite { return }
        let page = address & ~0xFFF
        if codePages[page] == nil {
            let global = shadow.isGlobal(address, cpu.pagingMode)
            codePages[page] = (offset, global)
        }
        if !shadow.markCode(offset) {
            pendingStop = MachineStop(.hostFailure("mprotect of a code page failed"))
        }
    }

    private func forgetCodePages() {
        codePages.removeAll(keepingCapacity: true)
        shadow.unmarkAllCode()
    }

    /// A page that code was translated from has changed, or is not where it was.
    func dropCode() {
        cache.flush()
        forgetCodePages()
    }

    /// The instruction at RIP writes to a page that code was translated from.
    func stepOverCodeWrite() {
        dropCode()
        stepsOverCodeWrite = true
    }

    /// CR3 was loaded (`all` false) or paging changed altogether.
    func dropTranslations(all: Bool) {
        if all { shadow.dropAll() } else { shadow.dropNonGlobal() }
        faultedUserAddress = nil
        checkCode { all || !$0 }
    }

    /// INVLPG.
    func invalidate(_ address: UInt64) {
        shadow.drop(address)
        let page = address & ~0xFFF
        if codePages[page] != nil { checkCode { _ in true } }
    }

    /// Blocks stay only while each of their pages is where it was and may be executed.
    private func checkCode(where affected: (_ global: Bool) -> Bool) {
        let mode = cpu.pagingMode
        for (page, known) in codePages where affected(known.global) {
            let same =
                linear.walk.look(up: page, mode).map { path in
                    path.translation.executable
                        && memory.fileOffset(of: GuestPhysicalAddress(path.translation.physical(page)))
                            == known.offset
                } ?? false
            if !same {
                dropCode()
                return
            }
        }
    }
}
