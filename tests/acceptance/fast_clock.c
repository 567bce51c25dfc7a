/* Preloaded into a process, it sets the clock ten minutes forward; what measures durations stays
   right. libfaketime breaks Python's time.sleep, which waits on the monotonic clock. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME)
        now->tv_sec += 600;
    return failed;
}
