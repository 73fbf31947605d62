// System calls by number (Linux x86-64, arch/x86/entry/syscalls/syscall_64.tbl). What is not listed is ENOSYS, counted.

.section .rodata
.set next_call, 0

.macro CALL number, function
    .rept \number - next_call
    .quad system_call_unimplemented
    .endr
    .quad \function
    .set next_call, \number + 1
.endm

    .align 64
.globl system_call_table
system_call_table:
    CALL 0, systemCallRead
    CALL 1, systemCallWrite
    CALL 2, systemCallOpen
    CALL 3, systemCallClose
    CALL 4, systemCallStat
    CALL 5, systemCallFstat
    CALL 6, systemCallLstat
    CALL 7, systemCallPoll
    CALL 8, systemCallLseek
    CALL 9, systemCallMmap
    CALL 10, systemCallMprotect
    CALL 11, systemCallMunmap
    CALL 12, systemCallBrk
    CALL 13, systemCallSigaction
    CALL 14, systemCallSigprocmask
    CALL 15, system_call_sigreturn
    CALL 16, systemCallIoctl
    CALL 17, systemCallPread
    CALL 18, systemCallPwrite
    CALL 19, systemCallReadv
    CALL 20, systemCallWritev
    CALL 21, systemCallAccess
    CALL 22, systemCallPipe
    CALL 23, systemCallSelect
    CALL 24, systemCallYield
    CALL 25, systemCallMremap
    CALL 28, systemCallMadvise
    CALL 32, systemCallDup
    CALL 33, systemCallDup2
    CALL 34, systemCallPause
    CALL 35, systemCallNanosleep
    CALL 36, systemCallGetitimer
    CALL 37, systemCallAlarm
    CALL 38, systemCallSetitimer
    CALL 39, systemCallGetpid
    CALL 40, systemCallSendfile
    CALL 56, system_call_clone
    CALL 57, system_call_fork
    CALL 58, system_call_vfork
    CALL 59, system_call_execve
    CALL 60, systemCallExit
    CALL 61, systemCallWait4
    CALL 62, systemCallKill
    CALL 63, systemCallUname
    CALL 72, systemCallFcntl
    CALL 73, systemCallFlock
    CALL 74, systemCallFsync
    CALL 75, systemCallFsync
    CALL 76, systemCallTruncate
    CALL 77, systemCallFtruncate
    CALL 79, systemCallGetcwd
    CALL 80, systemCallChdir
    CALL 81, systemCallFchdir
    CALL 82, systemCallRename
    CALL 83, systemCallMkdir
    CALL 84, systemCallRmdir
    CALL 85, systemCallCreat
    CALL 86, systemCallLink
    CALL 87, systemCallUnlink
    CALL 88, systemCallSymlink
    CALL 89, systemCallReadlink
    CALL 90, systemCallChmod
    CALL 91, systemCallFchmod
    CALL 92, systemCallChown
    CALL 93, systemCallFchown
    CALL 94, systemCallChown
    CALL 95, systemCallUmask
    CALL 96, systemCallGettimeofday
    CALL 97, systemCallGetrlimit
    CALL 98, systemCallGetrusage
    CALL 99, systemCallSysinfo
    CALL 100, systemCallTimes
    CALL 102, systemCallGetuid
    CALL 104, systemCallGetuid
    CALL 105, systemCallSetuid
    CALL 106, systemCallSetuid
    CALL 107, systemCallGetuid
    CALL 108, systemCallGetuid
    CALL 109, systemCallSetpgid
    CALL 110, systemCallGetppid
    CALL 111, systemCallGetpgrp
    CALL 112, systemCallSetsid
    CALL 115, systemCallGetgroups
    CALL 121, systemCallGetpgid
    CALL 124, systemCallGetsid
    CALL 127, systemCallSigpending
    CALL 130, systemCallSigsuspend
    CALL 131, systemCallSigaltstack
    CALL 157, systemCallPrctl
    CALL 158, systemCallArchPrctl
    CALL 160, systemCallSetrlimit
    CALL 186, systemCallGetpid
    CALL 200, systemCallTkill
    CALL 201, systemCallTime
    CALL 202, systemCallFutex
    CALL 203, systemCallSchedSetaffinity
    CALL 204, systemCallSchedGetaffinity
    CALL 217, systemCallGetdents64
    CALL 218, systemCallSetTidAddress
    CALL 228, systemCallClockGettime
    CALL 229, systemCallClockGetres
    CALL 230, systemCallClockNanosleep
    CALL 231, systemCallExit
    CALL 234, systemCallTgkill
    CALL 235, systemCallUtimes
    CALL 257, systemCallOpenat
    CALL 258, systemCallMkdirat
    CALL 262, systemCallNewfstatat
    CALL 263, systemCallUnlinkat
    CALL 264, systemCallRenameat
    CALL 265, systemCallLinkat
    CALL 266, systemCallSymlinkat
    CALL 267, systemCallReadlinkat
    CALL 268, systemCallFchmodat
    CALL 269, systemCallFaccessat
    CALL 270, systemCallPselect6
    CALL 271, systemCallPpoll
    CALL 273, systemCallSetRobustList
    CALL 280, systemCallUtimes
    CALL 292, systemCallDup3
    CALL 293, systemCallPipe2
    CALL 302, systemCallPrlimit64
    CALL 309, systemCallGetcpu
    CALL 316, systemCallRenameat2
    CALL 318, systemCallGetrandom
    CALL 332, systemCallStatx
    CALL 334, systemCallRseq
    CALL 435, system_call_clone3
    CALL 439, systemCallFaccessat
    CALL 510, systemCallRoundMark       // Nub's own
    CALL 511, systemCallNanobenchmark   // Nub's own
