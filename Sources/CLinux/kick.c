#define _GNU_SOURCE
#include "CLinuxKick.h"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

// Real-time signals below SIGRTMIN + 8 are left to others.
static int kick_signal(void) { return SIGRTMIN + 8; }

static struct clinux_kick *volatile signal_target;

static void kick(struct clinux_kick *kick, int reason) {
    // The first reason stays: a cancel that follows a time-out does not rename it.
    int none = CLINUX_KICK_NONE;
    __atomic_compare_exchange_n(&kick->reason, &none, reason, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    volatile uint8_t *flag = kick->immediate_exit;
    if (flag) *flag = 1;
}

static void on_kick(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    int error = errno;
    // A timer carries its kick; a cancel has set everything already and only needs the interruption.
    if (info->si_code == SI_TIMER && info->si_value.sival_ptr) kick(info->si_value.sival_ptr, CLINUX_KICK_TIMEOUT);
    errno = error;
}

static void on_cancel_signal(int signal) {
    (void)signal;
    int error = errno;
    struct clinux_kick *target = signal_target;
    if (target) clinux_kick_cancel(target);
    errno = error;
}

int clinux_kick_attach(struct clinux_kick *kick, volatile uint8_t *immediate_exit) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_kick;
    action.sa_flags = SA_SIGINFO;  // no SA_RESTART: KVM_RUN must come back
    sigfillset(&action.sa_mask);
    if (sigaction(kick_signal(), &action, 0) < 0) return -1;
    // Threads of a pool (libdispatch) block every signal.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, kick_signal());
    int error = pthread_sigmask(SIG_UNBLOCK, &signals, 0);
    if (error) {
        errno = error;
        return -1;
    }
    kick->immediate_exit = immediate_exit;
    kick->thread = (pid_t)syscall(SYS_gettid);
    // A cancel that came before there was a thread must still be seen.
    if (kick->reason != CLINUX_KICK_NONE) *immediate_exit = 1;
    return 0;
}

int clinux_kick_arm(struct clinux_kick *kick, double seconds) {
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = kick_signal();
    event.sigev_value.sival_ptr = kick;
    event.sigev_notify_thread_id = kick->thread;
    timer_t timer;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0) return -1;
    kick->timer = timer;
    kick->has_timer = 1;
    // A limit beyond 126 years is none; also keeps infinity out of the conversions.
    if (!(seconds < 4e9)) seconds = 4e9;
    double whole = floor(seconds);
    struct itimerspec when;
    memset(&when, 0, sizeof when);
    when.it_value.tv_sec = (time_t)whole;
    when.it_value.tv_nsec = (long)((seconds - whole) * 1e9);
    if (when.it_value.tv_sec == 0 && when.it_value.tv_nsec < 1) when.it_value.tv_nsec = 1;
    return timer_settime(timer, 0, &when, 0);
}

void clinux_kick_cancel(struct clinux_kick *target) {
    kick(target, CLINUX_KICK_CANCEL);
    pid_t thread = target->thread;
    if (thread) syscall(SYS_tgkill, getpid(), thread, kick_signal());
}

int clinux_kick_on_signal(int signal, struct clinux_kick *target) {
    signal_target = target;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = target ? on_cancel_signal : SIG_IGN;
    sigemptyset(&action.sa_mask);
    return sigaction(signal, &action, 0);
}

void clinux_kick_detach(struct clinux_kick *kick) {
    if (signal_target == kick) signal_target = 0;
    if (kick->has_timer) timer_delete((timer_t)kick->timer);
    kick->has_timer = 0;
    kick->thread = 0;
    kick->immediate_exit = 0;
}

int clinux_kick_reason(const struct clinux_kick *kick) { return kick->reason; }
