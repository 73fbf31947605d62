/// An address in guest RAM or device space, as the guest's page tables produce it.
public struct GuestPhysicalAddress: Hashable, Comparable, Sendable, RawRepresentable {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public init(_ value: UInt64) { rawValue = value }
    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
    public static func + (a: Self, bytes: UInt64) -> Self { Self(a.rawValue &+ bytes) }
}

/// A linear address as guest code uses it.
public struct GuestVirtualAddress: Hashable, Comparable, Sendable, RawRepresentable {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public init(_ value: UInt64) { rawValue = value }
    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
    public static func + (a: Self, bytes: UInt64) -> Self { Self(a.rawValue &+ bytes) }
}

/// A linear address in this process.
public struct HostAddress: Hashable, Comparable, Sendable, RawRepresentable {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public init(_ value: UInt64) { rawValue = value }
    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
    public static func + (a: Self, bytes: UInt64) -> Self { Self(a.rawValue &+ bytes) }
}

/// A span of time in TSC ticks.
public struct Cycles: Hashable, Comparable, Sendable, RawRepresentable {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public init(_ value: UInt64) { rawValue = value }
    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
    public static func + (a: Self, b: Self) -> Self { Self(a.rawValue &+ b.rawValue) }
    public static func - (a: Self, b: Self) -> Self { Self(a.rawValue &- b.rawValue) }
}
