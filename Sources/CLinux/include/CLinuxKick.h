// Getting a thread out of KVM_RUN: a timer or a signal sets kvm_run.immediate_exit, so that no entry is missed however the
// signal falls between the check and the ioctl (api.rst, kvm_run.immediate_exit).
#pragma once
#include <stdint.h>
#include <sys/types.h>

enum clinux_kick_reason {
    CLINUX_KICK_NONE = 0,
    CLINUX_KICK_TIMEOUT = 1,
    CLINUX_KICK_CANCEL = 2,
};

struct clinux_kick {
    volatile uint8_t *immediate_exit;
    volatile int reason;
    /// Thread to interrupt, 0 while none runs the vCPU.
    volatile pid_t thread;
    int has_timer;
    void *timer;
};

/// Makes the calling thread the one to interrupt. 0, or -1 with errno set.
int clinux_kick_attach(struct clinux_kick *kick, volatile uint8_t *immediate_exit);
/// Kicks with CLINUX_KICK_TIMEOUT after `seconds` (> 0). 0, or -1 with errno set.
int clinux_kick_arm(struct clinux_kick *kick, double seconds);
/// Kicks now with CLINUX_KICK_CANCEL, from any thread or signal handler.
void clinux_kick_cancel(struct clinux_kick *kick);
/// From now on `signal` cancels this kick, process-wide; a null `kick` ignores the signal. 0, or -1 with errno set.
int clinux_kick_on_signal(int signal, struct clinux_kick *kick);
/// Stops the timer and detaches the thread.
void clinux_kick_detach(struct clinux_kick *kick);
int clinux_kick_reason(const struct clinux_kick *kick);
