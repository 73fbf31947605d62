#define _GNU_SOURCE
#include "CLinuxPerf.h"
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clinux_perf_open(uint32_t type, uint64_t config, pid_t pid, int exclude_kernel) {
    struct perf_event_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.size = sizeof attr;
    attr.type = type;
    attr.config = config;
    attr.disabled = 1;
    attr.inherit = 1;
    attr.exclude_kernel = exclude_kernel != 0;
    attr.exclude_hv = 1;
    attr.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
    return (int)syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

int clinux_perf_enable(int fd) { return ioctl(fd, PERF_EVENT_IOC_ENABLE, 0); }

int clinux_perf_open_tracepoint(uint64_t id, pid_t thread, int with_records, int with_switches) {
    struct perf_event_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.size = sizeof attr;
    attr.type = PERF_TYPE_TRACEPOINT;
    attr.config = id;
    attr.disabled = 1;
    if (with_records) {
        attr.sample_period = 1;
        attr.sample_type = PERF_SAMPLE_TIME | PERF_SAMPLE_RAW;
        attr.use_clockid = 1;
        attr.clockid = CLOCK_MONOTONIC_RAW;
        // Cut to the buffer's size: no wake-ups before it is full. The reader looks by itself.
        attr.watermark = 1;
        attr.wakeup_watermark = UINT32_MAX;
        attr.context_switch = with_switches != 0;
        attr.sample_id_all = 1;
    }
    return (int)syscall(SYS_perf_event_open, &attr, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

int clinux_perf_share_buffer(int fd, int owner) { return ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, owner); }

int clinux_perf_disable(int fd) { return ioctl(fd, PERF_EVENT_IOC_DISABLE, 0); }

uint64_t clinux_perf_head(const void *page) {
    const struct perf_event_mmap_page *header = page;
    return __atomic_load_n(&header->data_head, __ATOMIC_ACQUIRE);
}

void clinux_perf_consumed(void *page, uint64_t tail) {
    struct perf_event_mmap_page *header = page;
    __atomic_store_n(&header->data_tail, tail, __ATOMIC_RELEASE);
}
