/// Where Nub puts things in a process's address space, as far as the host has to know.
public enum GuestLayout {
    /// Position-independent programs are loaded from here.
    public static let positionIndependentBase: UInt64 = 0x0100_0000_0000
}
