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

/// A disabled event of a tracepoint in one thread (0: the caller), or -1 with errno set. `id` is from tracefs. With records, each
/// hit is written to the event's buffer with its time (CLOCK_MONOTONIC_RAW) and the tracepoint's fields; with switches, so is the time
/// at which the thread leaves a CPU or gets one. Reading gives the number of hits either way, as one 64-bit word.
int clinux_perf_open_tracepoint(uint64_t id, pid_t thread, int with_records, int with_switches);
/// Sends an event's records to the buffer mapped from `owner`. 0, or -1 with errno set.
int clinux_perf_share_buffer(int fd, int owner);
/// Stops a counter; its count stays readable. 0, or -1 with errno set.
int clinux_perf_disable(int fd);
/// Bytes written to the buffer whose first page is `page` since it was mapped. What was written before is visible after.
uint64_t clinux_perf_head(const void *page);
/// Gives the buffer's bytes before `tail` back to the kernel.
void clinux_perf_consumed(void *page, uint64_t tail);
