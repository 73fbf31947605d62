import Machine

/// Translations of ring 3's view that were invalidated while ring 3 did not run.
struct PendingInvalidation {
    private static let most = 8
    private var addresses: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
    private(set) var count = 0
    /// All of them, instead of single ones.
    private(set) var isAll = false
    /// Global ones too.
    private(set) var includesGlobal = false

    var isEmpty: Bool { count == 0 && !isAll }

    mutating func add(_ address: UInt64) {
        if isAll && includesGlobal { return }
        guard count < Self.most else {
            addAll(global: true)
            return
        }
        withUnsafeMutableBytes(of: &addresses) {
            $0.storeBytes(of: address, toByteOffset: count * 8, as: UInt64.self)
        }
        count += 1
    }

    mutating func addAll(global: Bool) {
        isAll = true
        includesGlobal = includesGlobal || global
    }

    subscript(index: Int) -> UInt64 {
        withUnsafeBytes(of: addresses) { $0.load(fromByteOffset: index * 8, as: UInt64.self) }
    }
}

/// Where the architecture drops translations (Intel SDM vol. 3, 4.10.4): each is compared with the guest's tables.
extension ShadowMMU {
    // MARK: What the guest does

    /// INVLPG: the page of any size that holds `address`, global or not.
    func drop(_ address: UInt64, _ mode: PagingMode) {
        revalidate(pageAt: address, .supervisor, mode)
        guard map.isUser(address) else { return }
        if hasGigabytePages || host.table.region(of: hostPage(address, .user)) != nil { pendingUser.add(address) }
    }

    /// A CR3 load: everything but global translations.
    func dropNonGlobal(_ mode: PagingMode) { invalidate(mode, global: false) }

    /// CR0.WP, CR4.PGE or EFER.NXE has changed: everything.
    func dropAll(_ mode: PagingMode) { invalidate(mode, global: true) }

    /// The end.
    func dropAll() {
        host.unmapAll()
    }

    private var hasGigabytePages: Bool { host.table.ofGigabytePages > 0 }

    private func invalidate(_ mode: PagingMode, global: Bool) {
        pendingUser.addAll(global: global)
        let isSwitch = supervisorRoot != mode.root
        if isSwitch { exchange(.supervisor, supervisorRoot, mode) }
        supervisorRoot = mode.root
        revalidate(.supervisor, mode, global: global, isSwitch: isSwitch)
    }

    /// Whether ring 3 must not run before `prepareUser`.
    var userNeedsAttention: Bool { !pendingUser.isEmpty }

    /// Brings ring 3's view in line with what has been invalidated. To be called before ring 3 runs.
    func prepareUser(_ mode: PagingMode) {
        guard !pendingUser.isEmpty else { return }
        let pending = pendingUser
        pendingUser = PendingInvalidation()
        if pending.isAll {
            let isSwitch = userRoot != mode.root
            if isSwitch { exchange(.user, userRoot, mode) }
            userRoot = mode.root
            revalidate(.user, mode, global: pending.includesGlobal, isSwitch: isSwitch)
        }
        for index in 0..<pending.count { revalidate(pageAt: pending[index], .user, mode) }
    }

    // MARK: Comparing

    /// Switches of address space after which a region with nothing live in it is unmapped.
    private static let idleSwitches: UInt8 = 64

    private func revalidate(_ view: View, _ mode: PagingMode, global: Bool, isSwitch: Bool) {
        let table = host.table
        // Numbers, since what follows may take regions away.
        regionNumbers.removeAll(keepingCapacity: true)
        for position in 0..<table.regionCount {
            let region = table.region(at: position)
            guard self.view(ofHostPage: table[region: region].firstPage) == view else { continue }
            if table[region: region].live > 0 {
                table[region: region].idleSwitches = 0
                guard global || table[region: region].local > 0 else { continue }
            } else if isSwitch {
                table[region: region].idleSwitches += 1
                guard table[region: region].idleSwitches >= Self.idleSwitches else { continue }
            } else {
                continue
            }
            regionNumbers.append(table[region: region].number)
        }
        for index in regionNumbers.indices {
            let number = regionNumbers[index]
            guard let region = table.region(of: number << 9) else { continue }
            if table[region: region].live == 0 {
                host.unmapRegion(number)
            } else {
                revalidate(region: number, slots: 0..<512, view, mode, global: global, isSwitch: isSwitch)
            }
        }
    }

    private func revalidate(pageAt address: UInt64, _ view: View, _ mode: PagingMode) {
        let table = host.table
        let page = hostPage(address, view)
        if hasGigabytePages {
            // Any part of a page of 1 GiB may be what is left of it here.
            regionNumbers.removeAll(keepingCapacity: true)
            for position in 0..<table.regionCount {
                let region = table[region: table.region(at: position)]
                if region.number >> 9 == page >> 18 && region.ofLargePages > 0 { regionNumbers.append(region.number) }
            }
            for index in regionNumbers.indices {
                revalidate(region: regionNumbers[index], slots: 0..<512, view, mode, global: true, isSwitch: false)
            }
        }
        guard let region = table.region(of: page) else { return }
        let slot = Int(page & 511)
        let slots = table[region: region].ofLargePages > 0 ? 0..<512 : slot..<slot + 1
        revalidate(region: page >> 9, slots: slots, view, mode, global: true, isSwitch: false)
    }

    private enum Verdict {
        case keep
        /// The guest's entry lost its right to write, or its dirty bit.
        case readOnly
        /// There is another translation, or one that waits to be used: it may come to be this one again, or be mapped over.
        case changed
        /// There is none.
        case absent
    }

    private func judge(
        _ entry: ShadowEntry, _ translation: Translation?, _ address: UInt64, _ view: View, _ mode: PagingMode
    ) -> Verdict {
        guard let translation else { return .absent }
        guard translation.leaf.pointee & PageTableEntry.accessed != 0,
            translation.rights.user || view == .supervisor,
            entry.isOfLargePage == (translation.pageBits > 12), entry.isOfGigabytePage == (translation.pageBits == 30),
            !entry.isGlobal || translation.global, !entry.isExecutable || translation.rights.executable,
            memory.fileOffset(of: GuestPhysicalAddress(translation.physical(address))) == entry.offset
        else { return .changed }
        return entry.isGuestWritable && !translation.isWritable(user: view == .user, mode) ? .readOnly : .keep
    }

    /// Compares the live entries of a region with the guest's tables; those that are not right any more lose their rights.
    private func revalidate(
        region number: UInt64, slots: Range<Int>, _ view: View, _ mode: PagingMode, global: Bool, isSwitch: Bool
    ) {
        let table = host.table
        let first = number << 9
        let guest = guestAddress(ofHostPage: first, view)
        let found = walk.region(guest, mode)
        if let region = table.region(of: first), table[region: region].isLarge {
            let entry = table.entry(first)
            if entry.isGlobal && !global { return }
            if judge(entry, walk.translation(in: found, 0, mode), guest, view, mode) == .keep {
                found.markUpperAccessed()
                kept &+= 1
            } else {
                dropped &+= 1
                host.unmapRegion(number)
            }
            return
        }
        guard let region = table.region(of: first) else { return }
        let comparison = walk.comparison(with: found, user: view == .user, mode)
        let isWhole = slots.count == 512
        var subjects = 1
        if isWhole { subjects = Int(global ? table[region: region].live : table[region: region].local) }
        if isWhole, let comparison, table.stillAgrees(region, global: global, comparison) {
            kept &+= UInt64(subjects)
            found.markUpperAccessed()
            return
        }
        let droppedBefore = dropped
        // Neighbours that go the same way go together.
        var gone: Gone = (0, 0, true)
        var slot = slots.lowerBound
        while true {
            // What follows may take the region away.
            guard let region = table.region(of: first) else { return }
            if let comparison {
                slot = table.nextDifferent(region, from: slot, global: global, comparison)
            } else {
                slot = table.nextLive(region, from: slot, global: global)
            }
            guard slot < slots.upperBound else { break }
            let translation = walk.translation(in: found, slot, mode)
            let verdict = judge(table.entry(region, slot), translation, guest &+ UInt64(slot) << 12, view, mode)
            switch verdict {
            case .keep: break
            case .readOnly:
                dropped &+= 1
                host.makeReadOnly(first + UInt64(slot), guest: true)
            case .changed, .absent:
                dropped &+= 1
                let parks = isSwitch || verdict == .changed
                if gone.first + gone.count != slot || gone.parks != parks { takeAway(&gone, number) }
                if gone.count == 0 { gone = (slot, 0, parks) }
                gone.count += 1
            }
            slot += 1
        }
        takeAway(&gone, number)
        let remaining = subjects - Int(dropped - droppedBefore)
        guard remaining > 0 else { return }
        kept &+= UInt64(remaining)
        found.markUpperAccessed()
        // Worth its copy where the same table will be compared again.
        guard isWhole, !isSwitch, let comparison, let region = table.region(of: first) else { return }
        table.setAgreed(region, global: global, comparison)
    }

    private typealias Gone = (first: Int, count: Int, parks: Bool)

    /// Parks what may come back; what the guest has unmapped in the address space that stays will not.
    private func takeAway(_ gone: inout Gone, _ region: UInt64) {
        guard gone.count > 0 else { return }
        let page = region << 9 + UInt64(gone.first)
        if gone.parks { host.park(page, count: gone.count) } else { host.unmap(page, count: gone.count) }
        gone.count = 0
    }

    // MARK: Retained sets

    /// What one switch brings back at most, in calls of the host and in pages looked at: an address space may have been left with much
    /// more than it will use in its next turn. Some hundred microseconds each.
    private static let mostCalls = 64
    private static let mostPages = 4096

    /// Remembers what is live of the root that goes, and maps what the one that comes had when it went.
    private func exchange(_ view: View, _ old: UInt64, _ mode: PagingMode) {
        if old != .max { remember(view, old) }
        var batch = Batch()
        var pages = 0
        retained.forEachRun(mode.root, user: view == .user) { run in
            for page in run.page..<run.page + UInt64(run.count) {
                guard batch.calls < Self.mostCalls, pages < Self.mostPages else { return false }
                restore(page, view, mode, &batch)
                pages += 1
            }
            return true
        }
        finish(&batch)
    }

    private func remember(_ view: View, _ root: UInt64) {
        let table = host.table
        let isUser = view == .user
        let slot = retained.begin(root, user: isUser)
        for position in 0..<table.regionCount {
            let region = table.region(at: position)
            let first = table[region: region].firstPage
            // One fill brings a large page back.
            guard table[region: region].local > 0, table[region: region].ofLargePages == 0,
                self.view(ofHostPage: first) == view
            else { continue }
            var index = 0
            while case let start = table.nextLive(region, from: index, global: false), start < 512 {
                index = start + 1
                while table.nextLive(region, from: index, global: false) == index, index < 512 { index += 1 }
                if !retained.add(first + UInt64(start), count: index - start, to: slot, user: isUser) {
                    return
                }
            }
        }
    }

    /// Pages to be mapped in one call.
    private struct Batch {
        var page: UInt64 = 0
        var count = 0
        var entry = ShadowEntry.absent
        /// Batches done.
        var calls = 0
        /// They show the right part of the file and want only their rights back.
        var isParked = false
        var region: UInt64 = .max
        var found = PageTableWalk.Region()
    }

    private func restore(_ page: UInt64, _ view: View, _ mode: PagingMode, _ batch: inout Batch) {
        let address = guestAddress(ofHostPage: page, view)
        if batch.region != page >> 9 {
            batch.region = page >> 9
            batch.found = walk.region(address & ~0x1F_FFFF, mode)
        }
        guard let translation = walk.translation(in: batch.found, Int(page & 511), mode),
            translation.leaf.pointee & PageTableEntry.accessed != 0, translation.rights.user || view == .supervisor,
            let offset = memory.fileOffset(of: GuestPhysicalAddress(translation.physical(address)))
        else { return }
        let wanted = entry(translation, offset: offset, view, mode)
        let known = host.table.entry(page)
        batch.found.markUpperAccessed()
        if known == wanted { return }
        let isParked = known.isHeld && known.offset == offset
        restored &+= 1
        if batch.count > 0, page == batch.page + UInt64(batch.count), isParked == batch.isParked,
            wanted == batch.entry.advanced(by: UInt64(batch.count))
        {
            batch.count += 1
            return
        }
        finish(&batch)
        batch.page = page
        batch.count = 1
        batch.entry = wanted
        batch.isParked = isParked
    }

    private func finish(_ batch: inout Batch) {
        guard batch.count > 0 else { return }
        _ = host.establish(batch.page, count: batch.count, batch.entry, populate: false)
        batch.count = 0
        batch.calls += 1
    }
}
