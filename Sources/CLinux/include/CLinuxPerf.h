// perf_event_open, which glibc does not wrap.
#pragma once
#include <linux/perf_event.h>
#include <stdint.h>
#include <sys/types.h>

/// A disabled counter of `pid` (0: the caller) and the processes it starts from now on, or -1 with errno set. Reading
/// gives three 64-bit words: value, time enabled, time running.
int clinux_perf_open(uint32_t type, uint64_t config, pid_t pid, int exclude_kernel);
/// Starts a counter. 0, or -1 with errno set.
int clinux_perf_enable(int fd);
