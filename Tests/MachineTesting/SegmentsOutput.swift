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
