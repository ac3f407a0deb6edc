#define _GNU_SOURCE
#include "CPlatform.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int64_t milliseconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int start(char *const *words, int output, int errors, pid_t *process) {
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
    // The pipes are above the numbers that they come to, and the standard input comes last.
    if (code == 0) code = posix_spawn_file_actions_adddup2(&actions, output, 1);
    if (code == 0) code = posix_spawn_file_actions_adddup2(&actions, errors, 2);
    if (code == 0) code = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (code == 0) code = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (code == 0) code = posix_spawn(process, words[0], &actions, &attributes, words, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

// A pipe whose ends have numbers above those of the standard streams, closed when a program is run; the first does not
// wait. A negative error number.
static int make_pipe(int ends[2]) {
    int made[2];
    if (pipe2(made, O_CLOEXEC) < 0) return -errno;
    int code = 0;
    for (int i = 0; i < 2; i++) {
        ends[i] = fcntl(made[i], F_DUPFD_CLOEXEC, 3);
        if (ends[i] < 0 && code == 0) code = -errno;
        close(made[i]);
    }
    if (code == 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) code = -errno;
    for (int i = 0; code != 0 && i < 2; i++) {
        if (ends[i] >= 0) close(ends[i]);
    }
    return code;
}

// The last bytes of what comes, up to `capacity`.
struct tail {
    int input;
    char *bytes;
    size_t capacity, count;
};

// Takes what is there now, at most so much that somebody who never ends to write keeps nobody; 0 at the end of it.
static int take(struct tail *tail) {
    char piece[4096];
    for (int round = 0; round < 64; round++) {
        ssize_t count = read(tail->input, piece, sizeof piece);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return errno == EAGAIN;
        if (count == 0) return 0;
        size_t length = (size_t)count;
        const char *from = piece;
        if (length > tail->capacity) {
            from += length - tail->capacity;
            length = tail->capacity;
        }
        size_t kept = tail->capacity - length;
        if (kept < tail->count) {
            memmove(tail->bytes, tail->bytes + (tail->count - kept), kept);
            tail->count = kept;
        }
        memcpy(tail->bytes + tail->count, from, length);
        tail->count += length;
    }
    return 1;
}

// The bytes that were read until the end of the output, or until `size` are there; a negative error number. The errors
// are taken beside it, so that the program does not wait for that.
static ssize_t read_until(int input, char *bytes, size_t size, struct tail *errors, int64_t deadline) {
    size_t done = 0;
    int has_errors = 1;
    while (done < size) {
        int64_t left = deadline - milliseconds_now();
        if (left <= 0) return -ETIMEDOUT;
        struct pollfd ready[2] = {
            {.fd = input, .events = POLLIN}, {.fd = has_errors ? errors->input : -1, .events = POLLIN}};
        int found = poll(ready, 2, (int)left);
        if (found < 0 && errno != EINTR) return -errno;
        if (found <= 0) continue;
        if (ready[1].revents != 0) has_errors = take(errors);
        if (ready[0].revents == 0) continue;
        ssize_t count = read(input, bytes + done, size - done);
        if (count == 0) break;
        if (count < 0 && errno != EINTR && errno != EAGAIN) return -errno;
        if (count > 0) done += (size_t)count;
    }
    return (ssize_t)done;
}

// Waits for the end of the process that has written `count` bytes of at most `size`, or ends it.
static ssize_t end(pid_t process, ssize_t count, size_t size, struct tail *errors, int64_t deadline, int *status) {
    int ended = 0;
    while (count >= 0 && count < (ssize_t)size) {
        (void)take(errors);
        int found = waitpid(process, &ended, WNOHANG);
        if (found == process) {
            *status = WIFEXITED(ended) ? WEXITSTATUS(ended) : -WTERMSIG(ended);
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

ssize_t cplatform_program_output(
    char *const *words, void *bytes, size_t size, void *errors, size_t *error_size, int64_t milliseconds,
    int *status) {
    int64_t deadline = milliseconds_now() + milliseconds;
    size_t capacity = *error_size;
    *error_size = 0;
    *status = 0;
    int output[2], other[2];
    int code = make_pipe(output);
    if (code != 0) return code;
    code = make_pipe(other);
    if (code != 0) {
        close(output[0]);
        close(output[1]);
        return code;
    }
    pid_t process = 0;
    code = start(words, output[1], other[1], &process);
    close(output[1]);
    close(other[1]);
    ssize_t count = -code;
    if (code == 0) {
        struct tail tail = {.input = other[0], .bytes = errors, .capacity = capacity};
        count = read_until(output[0], bytes, size, &tail, deadline);
        close(output[0]);
        output[0] = -1;
        count = end(process, count, size, &tail, deadline, status);
        (void)take(&tail);
        *error_size = tail.count;
    }
    if (output[0] >= 0) close(output[0]);
    close(other[0]);
    return count;
}

const char *cplatform_signal_name(int number) { return sigabbrev_np(number); }

int cplatform_program_start(char *const *words, int *process) {
    int ends[2];
    int code = make_pipe(ends);
    if (code != 0) return code;
    pid_t started = 0;
    code = start(words, ends[1], ends[1], &started);
    close(ends[1]);
    if (code != 0) {
        close(ends[0]);
        return -code;
    }
    *process = started;
    return ends[0];
}

ssize_t cplatform_program_read(int input, void *bytes, size_t size, int milliseconds) {
    struct pollfd ready = {.fd = input, .events = POLLIN};
    int found = poll(&ready, 1, milliseconds);
    if (found == 0 || (found < 0 && errno == EINTR)) return -EAGAIN;
    if (found < 0) return -errno;
    ssize_t count = read(input, bytes, size);
    return count < 0 ? (errno == EINTR ? -EAGAIN : -errno) : count;
}

int cplatform_program_end(int process, int kills, int *status) {
    int ended = 0;
    // With what it has started.
    if (kills) kill(-process, SIGKILL);
    int found = waitpid(process, &ended, kills ? 0 : WNOHANG);
    if (found == 0 || (found < 0 && errno == EINTR)) return -EAGAIN;
    if (found < 0) return -errno;
    *status = WIFEXITED(ended) ? WEXITSTATUS(ended) : -WTERMSIG(ended);
    return 0;
}
