#define _GNU_SOURCE
#include "CPlatform.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

void *cplatform_map_file(int descriptor, size_t length) {
    void *address = mmap(NULL, length, PROT_READ, MAP_SHARED, descriptor, 0);
    return address == MAP_FAILED ? NULL : address;
}

int cplatform_lock_pages(const void *address, size_t length) { return mlock(address, length) == 0 ? 0 : -errno; }

void cplatform_unlock_pages(const void *address, size_t length) { munlock(address, length); }

// Where a fault of the copy that this thread is making goes on.
static _Thread_local sigjmp_buf *copying;
static struct sigaction former;

static void fault(int number, siginfo_t *information, void *context) {
    // One that somebody sent has no code of the kernel's.
    bool is_fault = information->si_code > 0;
    if (is_fault && copying) {
        // As if the handler had returned: whoever called it (a sanitizer does so in our place) may have blocked every
        // signal.
        pthread_sigmask(SIG_SETMASK, &((ucontext_t *)context)->uc_sigmask, NULL);
        siglongjmp(*copying, 1);
    }
    // No copy of ours: as if this handler were not there.
    if (former.sa_flags & SA_SIGINFO) {
        former.sa_sigaction(number, information, context);
    } else if (former.sa_handler != SIG_DFL && former.sa_handler != SIG_IGN) {
        former.sa_handler(number);
    } else {
        // After the return the access is repeated, now without a handler.
        signal(number, SIG_DFL);
        if (!is_fault) raise(number);
    }
}

static void install(void) {
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &former);
}

void cplatform_catch_faults(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
}

int cplatform_copy_mapped(void *target, const void *source, size_t count) {
    sigjmp_buf here;
    // The signal mask is not saved, which would cost a system call: the handler restores it.
    if (sigsetjmp(here, 0) != 0) {
        copying = NULL;
        return -EFAULT;
    }
    copying = &here;
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(target, source, count);
    atomic_signal_fence(memory_order_seq_cst);
    copying = NULL;
    return 0;
}
