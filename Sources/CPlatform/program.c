#define _GNU_SOURCE
#include "CPlatform.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int64_t milliseconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int start(char *const *words, int output, pid_t *process) {
    posix_spawn_file_actions_t actions;
    int code = posix_spawn_file_actions_init(&actions);
    if (code != 0) return code;
    posix_spawnattr_t attributes;
    code = posix_spawnattr_init(&attributes);
    if (code != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return code;
    }
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    code = posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    if (code == 0) code = posix_spawnattr_setsigmask(&attributes, &none);
    if (code == 0) code = posix_spawnattr_setsigdefault(&attributes, &all);
    // The output first: the pipe may have one of the other numbers.
    if (code == 0) code = posix_spawn_file_actions_adddup2(&actions, output, 1);
    if (code == 0) code = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (code == 0) code = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    if (code == 0) code = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (code == 0) code = posix_spawn(process, words[0], &actions, &attributes, words, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

// The bytes that were read until the end of the output, or until `size` are there; a negative error number.
static ssize_t read_until(int input, char *bytes, size_t size, int64_t deadline) {
    size_t done = 0;
    while (done < size) {
        int64_t left = deadline - milliseconds_now();
        if (left <= 0) return -ETIMEDOUT;
        struct pollfd ready = {.fd = input, .events = POLLIN};
        int found = poll(&ready, 1, (int)left);
        if (found < 0 && errno != EINTR) return -errno;
        if (found <= 0) continue;
        ssize_t count = read(input, bytes + done, size - done);
        if (count == 0) break;
        if (count < 0 && errno != EINTR && errno != EAGAIN) return -errno;
        if (count > 0) done += (size_t)count;
    }
    return (ssize_t)done;
}

ssize_t cplatform_program_output(
    char *const *words, void *bytes, size_t size, int64_t milliseconds, int *status) {
    int64_t deadline = milliseconds_now() + milliseconds;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
    pid_t process = 0;
    int code = start(words, ends[1], &process);
    close(ends[1]);
    if (code != 0) {
        close(ends[0]);
        return -code;
    }
    ssize_t count = read_until(ends[0], bytes, size, deadline);
    close(ends[0]);
    *status = 0;
    int ended = 0;
    while (count >= 0 && count < (ssize_t)size) {
        int found = waitpid(process, &ended, WNOHANG);
        if (found == process) {
            *status = WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
            return count;
        }
        // Somebody else waits for all children, or nobody does: how it has ended is not known.
        if (found < 0 && errno != EINTR) return -errno;
        if (milliseconds_now() >= deadline) {
            count = -ETIMEDOUT;
            break;
        }
        struct timespec pause = {.tv_nsec = 2000000};
        nanosleep(&pause, NULL);
    }
    // With what it has started.
    kill(-process, SIGKILL);
    while (waitpid(process, &ended, 0) < 0 && errno == EINTR) {}
    return count;
}
