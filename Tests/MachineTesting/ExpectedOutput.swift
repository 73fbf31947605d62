/// What Kernels/segments.c prints on a CPU (Intel SDM vol. 3, 5.3, 5.5 and 4.4.1): after "fault=" the vector and the error code.
public let segmentsOutput = """
    base 0x1000=12345678
    inside the limit: no fault
    across the limit: fault=000d0000
    expand-down=9abcdef0
    above the limit: no fault
    across the limit: fault=000d0000
    reading code: no fault
    writing code: fault=000d0000
    null segment: fault=000d0000
    directory pointer before CR3 is loaded: fault=000e0000
    second GiB=9abcdef0
    after: no fault

    """

/// What Kernels/device-memory.c prints: the same on KVM's local APIC and I/O APIC as on ours.
public let deviceMemoryOutput = """
    mov imm=00000030
    mov reg=00000040
    or=00000051
    and=00000050
    xor=00000063
    add=00000065
    sub=00000060
    inc=00000061
    bts=00000069
    xchg=00000069
    xchg=00000021
    movzx byte=00000021
    movzx word=00000021
    movsx byte=fffffff0
    movsxd=000000f0
    add from=000000f5
    test=00000001
    cmp=00000001
    cmp byte=00000001
    stos=00000055
    RDI=fee000f4
    movs=00000055
    lods=00000055
    base and index=00000055
    I/O APIC pins=00000018
    I/O APIC entry=00010077

    """
