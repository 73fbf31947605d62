/// Where things are in the linear address space (see README.md for the map).
enum Layout {
    /// All physical memory, 2 MiB pages.
    static let physicalMap: UInt64 = 0xFFFF_F800_0000_0000
    static let kernelImage: UInt64 = 0xFFFF_FFFF_8000_0000
    static let userStart: UInt64 = 0x1_0000
    /// Nothing that programs map reaches this address; the page-fault and copy paths rely on it.
    static let userEnd: UInt64 = 0x07FF_FFFF_0000
    static let stackTop: UInt64 = userEnd
    static let stackBytes: UInt64 = 8 << 20
    /// mmap hands out addresses downward from here.
    static let mapTop: UInt64 = stackTop - (64 << 20)
    static let positionIndependentBase = GuestLayout.positionIndependentBase
    /// Ring-3 stub and the FPU area of the running process, for CPUs without XSAVE in ring 0 (FPUState.swift).
    static let stubArea: UInt64 = 0x07FF_FFFF_D000
    static let stubCode: UInt64 = 0x07FF_FFFF_E000
}

let pageBytes: UInt64 = 4096

@inline(__always)
func pageFloor(_ address: UInt64) -> UInt64 { address & ~4095 }

/// Rounds up; callers bound `address` so that it cannot wrap.
@inline(__always)
func pageCeiling(_ address: UInt64) -> UInt64 { (address &+ 4095) & ~4095 }

/// An address of RAM or of a device.
struct PhysicalAddress: Equatable {
    var rawValue: UInt64

    @inline(__always)
    init(_ rawValue: UInt64) { self.rawValue = rawValue }

    /// Where ring 0 sees it.
    @inline(__always)
    var linear: UInt64 { rawValue &+ Layout.physicalMap }

    @inline(__always)
    var raw: UnsafeMutableRawPointer { rawPointer(linear) }
}

/// A 4 KiB frame of RAM, by number (physical address / 4096). Frame 0 is never handed out.
struct Frame: Equatable {
    var number: UInt32

    @inline(__always)
    init(number: UInt32) { self.number = number }

    @inline(__always)
    init(containing address: PhysicalAddress) { number = UInt32(truncatingIfNeeded: address.rawValue >> 12) }

    static let none = Frame(number: 0)

    @inline(__always)
    var address: PhysicalAddress { PhysicalAddress(UInt64(number) << 12) }

    @inline(__always)
    var raw: UnsafeMutableRawPointer { address.raw }

    @inline(__always)
    var words: UnsafeMutablePointer<UInt64> { pointer(address.linear) }
}

/// `address` is never 0 here: kernel pointers come from allocators that check.
@inline(__always)
func rawPointer(_ address: UInt64) -> UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(bitPattern: UInt(address)).unsafelyUnwrapped
}

@inline(__always)
func pointer<T>(_ address: UInt64, as type: T.Type = T.self) -> UnsafeMutablePointer<T> {
    UnsafeMutablePointer<T>(bitPattern: UInt(address)).unsafelyUnwrapped
}

@inline(__always)
func addressOf(_ pointer: UnsafeRawPointer) -> UInt64 { UInt64(UInt(bitPattern: pointer)) }
