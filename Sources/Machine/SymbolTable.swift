import CElf
import Foundation
import Synchronization

/// Named code addresses of an ELF file, for people: in diagnoses and traces.
public struct SymbolTable: Sendable {
    struct Symbol: Sendable {
        var address: UInt64
        var size: UInt64
        var name: String
    }

    /// By address.
    private let symbols: [Symbol]

    /// - Parameter symbols: sorted by address.
    init(_ symbols: [Symbol]) { self.symbols = symbols }

    /// The symbols of a file; none where it has none, cannot be read, or is no ELF file.
    public init(path: String) {
        self.init(path: path, bytes: (try? Data(contentsOf: URL(filePath: path))).map { [UInt8]($0) } ?? [])
    }

    /// The symbols of a file already in memory.
    init(path: String, bytes: [UInt8]) {
        self.init([])
        guard elf_version(UInt32(EV_CURRENT)) != UInt32(EV_NONE), bytes.count >= 64 else { return }
        // libelf wants memory that it may convert in place.
        var copy = bytes
        self = copy.withUnsafeMutableBytes { buffer in
            guard let elf = elf_memory(buffer.bindMemory(to: CChar.self).baseAddress, buffer.count) else {
                return SymbolTable([])
            }
            defer { elf_end(elf) }
            return SymbolTable(ElfReader(elf: elf, path: path, fileBytes: buffer.count).symbols())
        }
    }

    /// The function or label at or before `address` (as linked), nil when there is none near.
    public func symbol(at address: UInt64) -> (name: String, offset: UInt64)? {
        var low = 0
        var high = symbols.count
        while low < high {
            let middle = (low + high) / 2
            if symbols[middle].address <= address { low = middle + 1 } else { high = middle }
        }
        guard low > 0 else { return nil }
        let found = symbols[low - 1]
        let offset = address - found.address
        // Assembly labels have no size: trust them for a page.
        guard offset < (found.size == 0 ? 4096 : found.size) else { return nil }
        return (found.name, offset)
    }

    /// Addresses of the function or label of that name; a label's end where the next symbol begins.
    public func range(of name: String) -> ClosedRange<UInt64>? {
        guard
            let index = symbols.firstIndex(where: { $0.name == name && $0.size > 0 })
                ?? symbols.firstIndex(where: { $0.name == name })
        else { return nil }
        let start = symbols[index].address
        if symbols[index].size > 0 { return start...(start + symbols[index].size - 1) }
        let next = symbols[index...].first { $0.address > start }?.address ?? start + 4096
        return start...(next - 1)
    }
}

/// Symbols that are read when someone first asks: most machines end without anyone having asked.
final class LazySymbolTable: Sendable {
    private let path: String
    private let bytes: [UInt8]
    private let table = Mutex<SymbolTable?>(nil)

    init(path: String, bytes: [UInt8]) {
        self.path = path
        self.bytes = bytes
    }

    var value: SymbolTable {
        table.withLock { table in
            if let table { return table }
            let read = SymbolTable(path: path, bytes: bytes)
            table = read
            return read
        }
    }
}
