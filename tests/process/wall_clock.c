/* Preloaded into a process, it has the wall clock jump a day to and fro four times a second; all other clocks go on as they do.
 *
 * Whoever asks libc is told so by the functions below. Others, as the crate rustix does, ask the code that the kernel maps into
 * each process (the vDSO): that is made to jump here too, where the kernel lets its first instructions be written over. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define DAY 86400

/* More than any vDSO has. */
#define PAGES_MAX 8

/* As the vDSO has it, an error is the negative of its number. */
static int jumping(clockid_t clock, struct timespec *now) {
    if (syscall(SYS_clock_gettime, clock, now) != 0) return -errno;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI) {
        struct timespec steady;
        syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &steady);
        now->tv_sec += steady.tv_nsec / 250000000 % 2 ? DAY : -DAY;
    }
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int error = jumping(clock, now);
    if (error != 0) errno = -error;
    return error == 0 ? 0 : -1;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec fine;
    (void)zone;
    jumping(CLOCK_REALTIME, &fine);
    now->tv_sec = fine.tv_sec;
    now->tv_usec = fine.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec fine;
    jumping(CLOCK_REALTIME, &fine);
    if (now != NULL) *now = fine.tv_sec;
    return fine.tv_sec;
}

__attribute__((constructor)) static void divert_vdso(void) {
#ifdef __x86_64__
    /* movabs $jumping, %rax; jmp *%rax */
    unsigned char jump[12] = {0x48, 0xb8, [10] = 0xff, 0xe0};
    uintptr_t to = (uintptr_t)jumping;
    memcpy(jump + 2, &to, sizeof to);
    void *vdso = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
    void *entry = vdso == NULL ? NULL : dlsym(vdso, "__vdso_clock_gettime");
    void *begin = (void *)getauxval(AT_SYSINFO_EHDR);
    if (entry == NULL || begin == NULL) return;
    /* The kernel splits no mapping of its own: it takes all its pages at once, however many those are, or none where it seals
       them. */
    size_t page = sysconf(_SC_PAGESIZE), length = page;
    while (mprotect(begin, length, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        if ((length += page) > PAGES_MAX * page) return;
    memcpy(entry, jump, sizeof jump);
    mprotect(begin, length, PROT_READ | PROT_EXEC);
#endif
}
