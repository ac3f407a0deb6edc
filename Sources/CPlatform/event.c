#define _GNU_SOURCE
#include "CPlatform.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

const uint32_t cplatform_epollin = EPOLLIN;
const uint32_t cplatform_epollout = EPOLLOUT;
const uint32_t cplatform_epollerr = EPOLLERR;
const uint32_t cplatform_epollhup = EPOLLHUP;
const uint32_t cplatform_epollrdhup = EPOLLRDHUP;

static int result(int value) { return value < 0 ? -errno : value; }

int cplatform_epoll_create(void) { return result(epoll_create1(EPOLL_CLOEXEC)); }

static int control(int epoll, int operation, int descriptor, uint32_t events, uint64_t word) {
    struct epoll_event event = {.events = events, .data.u64 = word};
    return result(epoll_ctl(epoll, operation, descriptor, &event));
}

int cplatform_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t word) {
    return control(epoll, EPOLL_CTL_ADD, descriptor, events, word);
}

int cplatform_epoll_modify(int epoll, int descriptor, uint32_t events, uint64_t word) {
    return control(epoll, EPOLL_CTL_MOD, descriptor, events, word);
}

int cplatform_epoll_remove(int epoll, int descriptor) { return control(epoll, EPOLL_CTL_DEL, descriptor, 0, 0); }

int cplatform_epoll_wait(int epoll, struct cplatform_event *events, int capacity, int timeout) {
    struct epoll_event ready[CPLATFORM_EVENTS_MAX];
    if (capacity > CPLATFORM_EVENTS_MAX) capacity = CPLATFORM_EVENTS_MAX;
    int count = epoll_wait(epoll, ready, capacity, timeout);
    if (count < 0) return errno == EINTR ? 0 : -errno;
    for (int index = 0; index < count; index++) {
        events[index].events = ready[index].events;
        events[index].word = ready[index].data.u64;
    }
    return count;
}

int cplatform_eventfd(void) { return result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

int cplatform_eventfd_signal(int descriptor) { return result(eventfd_write(descriptor, 1)); }

int cplatform_eventfd_clear(int descriptor) {
    eventfd_t value;
    return result(eventfd_read(descriptor, &value));
}

int64_t cplatform_monotonic_nanoseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int64_t cplatform_calendar_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec;
}

void cplatform_thread_setup(const char *name) {
    char kept[16];
    strncpy(kept, name, sizeof kept - 1);
    kept[sizeof kept - 1] = 0;
    pthread_setname_np(pthread_self(), kept);
    sigset_t all;
    sigfillset(&all);
    const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT};
    for (size_t index = 0; index < sizeof faults / sizeof *faults; index++) sigdelset(&all, faults[index]);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
}

// Linux keeps a nice value for each thread. What is refused changes nothing: the thread competes like the others then.
void cplatform_thread_give_way(void) {
    const int nice = 10;
    // 0 is the calling thread. One that gives way even more already, as the process does, goes on to.
    if (getpriority(PRIO_PROCESS, 0) < nice) (void)setpriority(PRIO_PROCESS, 0, nice);
}

struct cplatform_semaphore {
    sem_t semaphore;
};

struct cplatform_semaphore *cplatform_semaphore_create(void) {
    struct cplatform_semaphore *semaphore = malloc(sizeof *semaphore);
    if (semaphore) sem_init(&semaphore->semaphore, 0, 0);
    return semaphore;
}

void cplatform_semaphore_destroy(struct cplatform_semaphore *semaphore) {
    sem_destroy(&semaphore->semaphore);
    free(semaphore);
}

void cplatform_semaphore_post(struct cplatform_semaphore *semaphore) { sem_post(&semaphore->semaphore); }

void cplatform_semaphore_wait(struct cplatform_semaphore *semaphore) {
    while (sem_wait(&semaphore->semaphore) < 0 && errno == EINTR) continue;
}

// Signals go through a pipe: a handler may do nothing but write, and the pipe works whatever thread gets the signal.
static int signal_pipe[2] = {-1, -1};
static pthread_once_t signal_pipe_once = PTHREAD_ONCE_INIT;

static void make_signal_pipe(void) {
    if (pipe2(signal_pipe, O_CLOEXEC) < 0) return;
    fcntl(signal_pipe[1], F_SETFL, O_NONBLOCK);
}

static void caught(int number) {
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    ssize_t ignored = write(signal_pipe[1], &byte, 1);
    (void)ignored;
    errno = saved;
}

int cplatform_signal_catch(int number) {
    pthread_once(&signal_pipe_once, make_signal_pipe);
    if (signal_pipe[1] < 0) return -EMFILE;
    struct sigaction action = {.sa_handler = caught, .sa_flags = SA_RESTART};
    return result(sigaction(number, &action, NULL));
}

int cplatform_signal_ignore(int number) {
    struct sigaction action = {.sa_handler = SIG_IGN};
    return result(sigaction(number, &action, NULL));
}

int cplatform_signal_next(void) {
    unsigned char byte;
    for (;;) {
        ssize_t count = read(signal_pipe[0], &byte, 1);
        if (count == 1) return byte;
        if (count < 0 && errno == EINTR) continue;
        return count < 0 ? -errno : -EPIPE;
    }
}
