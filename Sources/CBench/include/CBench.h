// What carousel-bench needs of C: processor clocks of processes, and the bare loop that is the floor of all
// comparisons.
#pragma once

#include <stdint.h>

/// The processor time of a process so far, user and system, in nanoseconds; negative when there is no such process.
int64_t cbench_process_nanoseconds(int process);

/// The processor time of the calling thread so far, user and system, in nanoseconds.
int64_t cbench_thread_nanoseconds(void);

/// How much memory the process has allocated and not freed, in bytes.
int64_t cbench_heap_bytes(void);

/// A bare responder: one thread that logs every initiator in and answers READ and WRITE from one file.
struct cbench_loop;

/// Starts a loop on a port of 127.0.0.1 that the system chooses and that goes to `port`. It reads and writes the file
/// by system calls, or, with `is_mapped`, by copying from and to a mapping of it. NULL, with errno set, when it cannot.
struct cbench_loop *cbench_loop_start(const char *path, int is_mapped, uint16_t *port);

/// The processor time of the loop's thread so far, in nanoseconds.
int64_t cbench_loop_nanoseconds(struct cbench_loop *loop);

/// Ends the loop and its connections.
void cbench_loop_stop(struct cbench_loop *loop);
