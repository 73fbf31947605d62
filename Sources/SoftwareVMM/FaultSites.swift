import Machine

/// Instructions of translated code that trap again and again: stores to fresh or write-protected pages, device registers,
/// accesses to user memory. A trap costs a host signal and mostly a host mapping; such a *site* is translated again as a callout,
/// which carries the access out in guest RAM (the adaptive binary translation of Adams & Agesen, ASPLOS 2006, section 5).
///
/// A callout is dearer than an access that does not trap. Each one is judged by whether it spared a trap, and a site whose callouts
/// mostly do not is translated as it was, for good.
final class FaultSites {
    struct Key: Hashable {
        var rip: UInt64
        var ring: CodeCache.Ring
    }

    struct Site {
        /// The instruction's bytes: another address space, or changed code, may have another instruction there.
        var code: [UInt8]
        var access: MemoryAccess
        /// Page of the access before.
        var lastPage: UInt64 = .max
        var spared = 0
        var idle = 0
    }

    /// Traps at a place before it becomes a callout.
    private static let threshold: UInt8 = 8
    /// A trap costs about as much as this many callouts.
    private static let callsPerTrap = 16
    private static let window = 256
    /// Places that are counted at a time; then counting begins again.
    private static let countedPlaces = 4096

    private var traps: [Key: UInt8] = [:]
    private var sites: [Key: [Site]] = [:]
    /// Places that stay as they are.
    private var barred: Set<Key> = []
    private(set) var made: UInt64 = 0
    private(set) var reverted: UInt64 = 0
    /// Accesses that callouts have carried out.
    private(set) var callouts: UInt64 = 0
    private(set) var trapsSpared: UInt64 = 0

    var isEmpty: Bool { sites.isEmpty }

    /// Whether the instruction that `code` begins with is a site at that place.
    func isSite(_ key: Key, _ code: UnsafeBufferPointer<UInt8>) -> Bool { access(at: key, code) != nil }

    private func index(at key: Key, _ code: UnsafeBufferPointer<UInt8>) -> Int? {
        sites[key]?.firstIndex { code.starts(with: $0.code) }
    }

    /// The instruction at `key` has trapped. True: often enough.
    func noteTrap(at key: Key) -> Bool {
        guard !barred.contains(key) else { return false }
        if traps.count >= Self.countedPlaces { traps.removeAll(keepingCapacity: true) }
        let count = traps[key, default: 0] &+ 1
        traps[key] = count
        return count >= Self.threshold
    }

    /// Makes the instruction a callout.
    func add(_ key: Key, _ code: UnsafeBufferPointer<UInt8>, _ access: MemoryAccess) {
        traps[key] = nil
        guard !isSite(key, code) else { return }
        sites[key, default: []].append(Site(code: Array(code.prefix(Int(access.length))), access: access))
        made &+= 1
    }

    /// It stays, or becomes again, what it was.
    func bar(_ key: Key) {
        traps[key] = nil
        barred.insert(key)
        if sites.removeValue(forKey: key) != nil { reverted &+= 1 }
    }

    func access(at key: Key, _ code: UnsafeBufferPointer<UInt8>) -> MemoryAccess? {
        index(at: key, code).flatMap { sites[key]?[$0].access }
    }

    /// How the host would have taken the access of a callout.
    enum Counterfactual {
        /// The page is mapped for it.
        case mapped
        /// The page would have been mapped at the first such access.
        case unmapped
        /// It would have trapped: the page is protected, since code was translated from it, or a device's.
        case trapping
    }

    /// A callout has accessed a page. False: the site does not pay any more.
    func noteCallout(
        at key: Key, _ code: UnsafeBufferPointer<UInt8>, page: UInt64, otherwise: Counterfactual
    ) -> Bool {
        callouts &+= 1
        guard let place = sites.index(forKey: key), let index = index(at: key, code) else { return true }
        return note(page, otherwise, &sites.values[place][index])
    }

    private func note(_ page: UInt64, _ otherwise: Counterfactual, _ site: inout Site) -> Bool {
        let spared = otherwise == .trapping || otherwise == .unmapped && site.lastPage != page
        site.lastPage = page
        if spared {
            site.spared += 1
            trapsSpared &+= 1
        } else {
            site.idle += 1
        }
        guard site.spared + site.idle >= Self.window else { return true }
        let pays = site.idle < site.spared * Self.callsPerTrap
        site.spared = 0
        site.idle = 0
        return pays
    }
}

extension SoftwareMachine {
    /// Translated code trapped for the access of the instruction at `cpu.rip`, of which nothing is done.
    func noteTrappingAccess() {
        let key = FaultSites.Key(rip: cpu.rip, ring: ring)
        guard sites.noteTrap(at: key) else { return }
        guard let bytes = try? fetch.instruction(key.rip, user: ring == .user, cpu.pagingMode),
            let info = fetch.decode(bytes), let access = MemoryAccess(info, fetch.operands, rip: key.rip)
        else {
            sites.bar(key)
            return
        }
        sites.add(key, bytes, access)
        cache.remove(containing: key.rip, ring)
    }

    /// The instruction at `cpu.rip` if it is such a site: true when its access was carried out.
    func carryOutSite() throws(GuestException) -> Bool {
        guard !sites.isEmpty else { return false }
        let key = FaultSites.Key(rip: cpu.rip, ring: ring)
        // No fault: the code is mapped, since a translation of it has just run.
        guard let code = try fetch.instruction(cpu.rip, user: ring == .user, cpu.pagingMode),
            let access = sites.access(at: key, code)
        else { return false }
        exitReason = .emulatedInstruction
        let address = access.address(self)
        guard try carryOut(access, at: address) else {
            // Something out of the ordinary: let the CPU show what it does.
            revert(key)
            return true
        }
        cpu.rip &+= access.length
        let isMapped = shadow.isMapped(address, user: ring == .user, access.isStore)
        let otherwise: FaultSites.Counterfactual =
            exitReason == .tracedWrite || exitReason == .mmio ? .trapping : isMapped ? .mapped : .unmapped
        if !sites.noteCallout(at: key, code, page: address >> 12, otherwise: otherwise) { revert(key) }
        return true
    }

    private func revert(_ key: FaultSites.Key) {
        sites.bar(key)
        cache.remove(containing: key.rip, key.ring)
    }

    /// False: not RAM, or across pages; nothing is done.
    private func carryOut(_ access: MemoryAccess, at address: UInt64) throws(GuestException) -> Bool {
        guard AddressMap.isCanonical(address), address & 0xFFF <= UInt64(4096 - access.bytes) else { return false }
        let isStore = access.isStore
        let physical: UInt64
        switch linear.walk.translate(address, Access(write: isStore, user: ring == .user), cpu.pagingMode) {
        case .translated(let translation): physical = translation.physical(address)
        case .fault(let code):
            exitReason = .guestPageFault
            if ring == .user { translatedUserFaults &+= 1 }
            throw GuestException(vector: GuestException.pageFault, errorCode: code, address: address)
        }
        guard let pointer = memory.pointer(to: GuestPhysicalAddress(physical), count: UInt64(access.bytes)) else {
            return carryOutOnDevice(access, physical)
        }
        switch access.operation {
        case .store(let source):
            if let offset = memory.fileOffset(of: GuestPhysicalAddress(physical & ~0xFFF)), shadow.isCode(offset) {
                exitReason = .tracedWrite
                cache.invalidate(offset: offset, bytes: physical & 0xFFF, count: access.bytes)
            }
            let value = value(of: source)
            switch access.bytes {
            case 1: pointer.storeBytes(of: UInt8(truncatingIfNeeded: value), as: UInt8.self)
            case 2: pointer.storeBytes(of: UInt16(truncatingIfNeeded: value), as: UInt16.self)
            case 4: pointer.storeBytes(of: UInt32(truncatingIfNeeded: value), as: UInt32.self)
            default: pointer.storeBytes(of: value, as: UInt64.self)
            }
        case .load(let register, let bits, let isSigned):
            let value =
                switch access.bytes {
                case 1: UInt64(pointer.load(as: UInt8.self))
                case 2: UInt64(pointer.loadUnaligned(as: UInt16.self))
                case 4: UInt64(pointer.loadUnaligned(as: UInt32.self))
                default: pointer.loadUnaligned(as: UInt64.self)
                }
            write(isSigned ? Self.extended(value, bytes: access.bytes) : value, to: register, bits: bits)
        }
        return true
    }

    private func value(of source: MemoryAccess.Source) -> UInt64 {
        switch source {
        case .register(let number): cpu[number]
        case .immediate(let value): value
        }
    }

    /// `value`, sign-extended from its low bytes.
    private static func extended(_ value: UInt64, bytes: Int) -> UInt64 {
        let shift = UInt64(64 - 8 * bytes)
        return UInt64(bitPattern: Int64(bitPattern: value << shift) >> Int64(shift))
    }

    /// False: no device there either.
    private func carryOutOnDevice(_ access: MemoryAccess, _ physical: UInt64) -> Bool {
        guard ring == .supervisor, isDevice(physical) else { return false }
        exitReason = .mmio
        switch access.operation {
        case .store(let source): return writeDevice(physical, size: access.bytes, value: value(of: source))
        case .load(let register, let bits, let isSigned):
            guard let value = readDevice(physical, size: access.bytes) else { return false }
            write(isSigned ? Self.extended(value, bytes: access.bytes) : value, to: register, bits: bits)
            return true
        }
    }
}
