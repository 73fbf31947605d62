#define _GNU_SOURCE
#include "CLinuxTSC.h"
#include <linux/perf_event.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

uint64_t clinux_tsc_hertz_from_perf(void) {
    struct perf_event_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.size = sizeof attr;
    attr.type = PERF_TYPE_SOFTWARE;
    attr.config = PERF_COUNT_SW_DUMMY;
    attr.exclude_kernel = 1;
    attr.exclude_hv = 1;
    int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) return 0;
    long page = sysconf(_SC_PAGESIZE);
    struct perf_event_mmap_page *shared = mmap(0, (size_t)page, PROT_READ, MAP_SHARED, fd, 0);
    uint64_t hertz = 0;
    if (shared != MAP_FAILED) {
        // ns = cycles * time_mult >> time_shift (perf_event.h), so Hz = 1e9 << time_shift / time_mult.
        if (shared->cap_user_time && shared->time_mult != 0 && shared->time_shift < 64)
            hertz = (uint64_t)(((unsigned __int128)1000000000u << shared->time_shift) / shared->time_mult);
        munmap(shared, (size_t)page);
    }
    close(fd);
    return hertz;
}
