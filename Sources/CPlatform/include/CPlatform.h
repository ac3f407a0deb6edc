// CPlatform: the Linux calls that Swift's Glibc module lacks, as plain functions with a prefix.
//
// Only what cannot be reached from Swift, or what would take pointer casts there (socket addresses, ancillary
// structures), belongs here. Functions return what the system call returns; on failure that is the negated errno, so
// that nothing can run between the call and the reading of errno. Calls that a signal interrupts are repeated.
#ifndef CPLATFORM_H
#define CPLATFORM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

// ---- memory.c

/// Maps `length` bytes of fresh, private, zero-filled memory; NULL when there is none.
void *_Nullable cplatform_map(size_t length);
/// Maps `length` bytes like cplatform_map, at a multiple of `alignment`; both are multiples of the page size.
void *_Nullable cplatform_map_aligned(size_t length, size_t alignment);
/// Maps `length` bytes, a multiple of 2 MiB, of the system's reserved huge pages of that size (hugetlb), and fills them
/// with zeros: 5 to 15 ms for 64 MiB. NULL when there are too few, or when Linux is older than 5.14.
void *_Nullable cplatform_map_huge_pages(size_t length);
/// Asks for huge pages where memory allows it (MADV_HUGEPAGE); 0 or the negated errno.
int cplatform_advise_huge_pages(void *_Nonnull address, size_t length);
/// Gives the pages of a range back to the system (MADV_DONTNEED): they read as zeros when they are used next. 0 or the
/// negated errno.
int cplatform_give_back(void *_Nonnull address, size_t length);
/// Unmaps what a function above gave.
void cplatform_unmap(void *_Nonnull address, size_t length);

// ---- mapping.c: files in the address space

/// Maps the first `length` bytes of a file for reading; NULL when that cannot be.
void *_Nullable cplatform_map_file(int descriptor, size_t length);
/// Brings pages of a mapping into memory and keeps them there (mlock); 0 or the negated errno. May wait for a device.
int cplatform_lock_pages(const void *_Nonnull address, size_t length);
/// Unlocks the pages, which the kernel may then reclaim.
void cplatform_unlock_pages(const void *_Nonnull address, size_t length);
/// Has cplatform_copy_mapped survive faults (SIGBUS); other faults go where they went before. Any thread, any number of
/// times.
void cplatform_catch_faults(void);
/// Copies from a mapped file; 0, or -EFAULT when the file has become shorter or the device cannot read it.
int cplatform_copy_mapped(void *_Nonnull target, const void *_Nonnull source, size_t count);

// ---- event.c: readiness, clock, threads, signals

/// One readiness report: the EPOLL* bits and the word given at registration.
struct cplatform_event {
    uint32_t events;
    uint64_t word;
};

/// The most reports one cplatform_epoll_wait gives.
enum { CPLATFORM_EVENTS_MAX = 128 };
/// Readiness bits, equal to EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP and EPOLLRDHUP.
extern const uint32_t cplatform_epollin;
extern const uint32_t cplatform_epollout;
extern const uint32_t cplatform_epollerr;
extern const uint32_t cplatform_epollhup;
extern const uint32_t cplatform_epollrdhup;

int cplatform_epoll_create(void);
int cplatform_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t word);
int cplatform_epoll_modify(int epoll, int descriptor, uint32_t events, uint64_t word);
int cplatform_epoll_remove(int epoll, int descriptor);
/// Waits for at most `timeout` milliseconds (-1: no limit); gives 0 when a signal interrupts it.
int cplatform_epoll_wait(int epoll, struct cplatform_event *_Nonnull events, int capacity, int timeout);

/// A non-blocking eventfd that counts from 0.
int cplatform_eventfd(void);
/// Makes the eventfd readable.
int cplatform_eventfd_signal(int descriptor);
/// Resets the eventfd.
int cplatform_eventfd_clear(int descriptor);

/// CLOCK_MONOTONIC in nanoseconds.
int64_t cplatform_monotonic_nanoseconds(void);
/// CLOCK_REALTIME in whole seconds.
int64_t cplatform_calendar_seconds(void);
/// Names the calling thread (at most 15 bytes are kept) and blocks all signals that are not its own fault in it.
void cplatform_thread_setup(const char *_Nonnull name);
/// Has the calling thread give way to those of ordinary priority (nice value 10).
void cplatform_thread_give_way(void);

/// A counting semaphore that makes no system call while nobody waits.
struct cplatform_semaphore;
struct cplatform_semaphore *_Nullable cplatform_semaphore_create(void);
void cplatform_semaphore_destroy(struct cplatform_semaphore *_Nonnull semaphore);
void cplatform_semaphore_post(struct cplatform_semaphore *_Nonnull semaphore);
void cplatform_semaphore_wait(struct cplatform_semaphore *_Nonnull semaphore);

/// Routes `signal` to cplatform_signal_next.
int cplatform_signal_catch(int signal);
/// Ignores `signal`.
int cplatform_signal_ignore(int signal);
/// Waits for the next caught signal and gives its number.
int cplatform_signal_next(void);

// ---- socket.c: a `port` of -1 means that `host` is the path of a Unix socket; hosts are numeric

/// Checks that `host` is a numeric address; gives 4 or 6, or -EINVAL.
int cplatform_address_family(const char *_Nonnull host);
/// A non-blocking listening socket. `buffer` sets both socket buffers of what it accepts, 0 keeps the system's.
int cplatform_listen(const char *_Nonnull host, int port, int backlog, int buffer);
/// Binds a socket as cplatform_listen does, and closes it: 0, or why that cannot be.
int cplatform_try_bind(const char *_Nonnull host, int port);
/// 1 when the numeric address `host` is one of this machine's, else 0; loopback addresses but the first are not known.
int cplatform_is_local(const char *_Nonnull host);
/// Accepts one connection, non-blocking.
int cplatform_accept(int descriptor);
/// A connected stream socket, after at most `timeout` milliseconds, then non-blocking.
int cplatform_connect(const char *_Nonnull host, int port, int timeout, int buffer);
/// A pair of connected Unix stream sockets, non-blocking.
int cplatform_socketpair(int *_Nonnull first, int *_Nonnull second);
/// TCP_NODELAY; no error on a socket without it.
void cplatform_set_no_delay(int descriptor);
/// SO_KEEPALIVE with probes after `idle` seconds.
void cplatform_set_keep_alive(int descriptor, int idle);
/// Writes the numeric host (or path) of the own or the peer's address and its port (-1: Unix socket).
int cplatform_socket_name(int descriptor, int peer, char *_Nonnull host, size_t capacity, int *_Nonnull port);
/// One recvmsg into up to two pieces; MSG_DONTWAIT.
ssize_t cplatform_receive(
    int descriptor, void *_Nullable first, size_t first_length, void *_Nullable second, size_t second_length);
/// One sendmsg of `count` pieces; MSG_DONTWAIT, no SIGPIPE.
ssize_t cplatform_send(int descriptor, const struct iovec *_Nonnull pieces, size_t count);
/// Shuts one side down for writing.
int cplatform_shutdown_write(int descriptor);
/// Waits until the socket is readable (or, with `writing`, writable): 1, or 0 after `timeout` milliseconds.
int cplatform_wait_ready(int descriptor, int writing, int timeout);
int cplatform_close(int descriptor);
/// Makes a socket that another process made one of ours, non-blocking and closed at exec: -EPROTOTYPE unless it is a
/// stream socket, -EINVAL unless it listens, -EAFNOSUPPORT when it is of IPv6 and takes IPv4 connections too.
int cplatform_adopt_listener(int descriptor);
/// Sends one datagram to the Unix socket with that name of `length` bytes, which is abstract when it begins with '@';
/// waits 5 s at most. Nothing when nobody is there.
int cplatform_notify(
    const unsigned char *_Nonnull name, size_t length, const unsigned char *_Nonnull text, size_t text_length);

// ---- file.c

enum {
    CPLATFORM_OPEN_WRITE = 1,
    CPLATFORM_OPEN_CREATE = 2,
    CPLATFORM_OPEN_EXCLUSIVE = 4,
    CPLATFORM_OPEN_TRUNCATE = 8,
    CPLATFORM_OPEN_DATA_SYNC = 16,
    CPLATFORM_OPEN_DIRECTORY = 32,
    CPLATFORM_OPEN_NO_FOLLOW = 64,
    CPLATFORM_OPEN_NON_BLOCKING = 128,
    CPLATFORM_OPEN_UNNAMED = 256,
};

/// Opens a file with CPLATFORM_OPEN_* bits, close-on-exec.
int cplatform_open(const char *_Nonnull path, int options, unsigned permissions);
/// Gives the file at `path` the name `name`, where nothing is; the negated errno, EINVAL where the file system cannot.
int cplatform_rename_new(const char *_Nonnull path, const char *_Nonnull name);
/// Opens the file of `descriptor` once more, to be read and written past the page cache (O_DIRECT).
int cplatform_open_directly(int descriptor);
/// What a path leads to. A block device has its device number as its identity, and its length where links are followed.
struct cplatform_file_status {
    uint64_t device;
    uint64_t inode;
    /// When its content changed last, in nanoseconds since 1970; INT64_MAX or INT64_MIN where they do not do.
    int64_t modified;
    int64_t length;
    uint64_t links;
    uint32_t owner;
    /// st_mode: type and permissions.
    uint32_t mode;
};
/// Looks at what `path` leads to, or at a symbolic link itself unless `follows`.
int cplatform_status(const char *_Nonnull path, int follows, struct cplatform_file_status *_Nonnull status);
/// Reads only what the page cache holds (RWF_NOWAIT): -EAGAIN when it must wait, -EOPNOTSUPP where that is unknown.
ssize_t cplatform_read_cached(int descriptor, void *_Nonnull buffer, size_t length, int64_t offset);
ssize_t cplatform_read(int descriptor, void *_Nonnull buffer, size_t length, int64_t offset);
/// Reads into two pieces, either may be empty; with `cached` only what the page cache holds, as cplatform_read_cached.
ssize_t cplatform_read_pieces(
    int descriptor, void *_Nullable first, size_t first_length, void *_Nullable second, size_t second_length,
    int64_t offset, int cached);
/// Writes up to two pieces, the first may be empty.
ssize_t cplatform_write(
    int descriptor, const void *_Nullable first, size_t first_length, const void *_Nullable second,
    size_t second_length, int64_t offset);
int cplatform_synchronize_data(int descriptor);
int cplatform_synchronize(int descriptor);
/// Drops pages of the file from the page cache, from `offset` on, that need not be written back.
int cplatform_drop_cached(int descriptor, int64_t offset);
int cplatform_punch_hole(int descriptor, int64_t offset, int64_t length);
int cplatform_zero_range(int descriptor, int64_t offset, int64_t length);
int cplatform_allocate(int descriptor, int64_t offset, int64_t length);
int cplatform_truncate(int descriptor, int64_t length);
/// The length in bytes of a file or block device.
int64_t cplatform_size(int descriptor);
/// The bytes of storage that a file takes.
int64_t cplatform_allocated_size(int descriptor);
/// The first offset from `offset` on with storage, written or reserved (FIEMAP; SEEK_DATA where that is unknown);
/// -ENXIO when there is none.
int64_t cplatform_next_allocated(int descriptor, int64_t offset);
/// The first offset from `offset` on without storage, at most the end; -ENXIO beyond it.
int64_t cplatform_next_unallocated(int descriptor, int64_t offset);
/// The error number in the file's attribute for lost data, or the one with which reading the attribute fails; 0 when
/// there is none, or the file system keeps none. Never negative. Sets `seconds` to when the loss was, by
/// CLOCK_REALTIME; -1 when the attribute does not say.
int cplatform_noted_loss(int descriptor, int64_t *_Nonnull seconds);
/// Sets that attribute durably, with what was written to the file before; an error number of 0 removes it, which
/// succeeds where there is none. Waits for the device.
int cplatform_note_loss(int descriptor, int error_number, int64_t seconds);
/// Reads the file's extended attribute `name` into `bytes`. Gives its length; -ENODATA when there is none, or the file
/// system keeps none; -ERANGE when it is longer than `capacity`.
ssize_t cplatform_get_attribute(int descriptor, const char *_Nonnull name, void *_Nonnull bytes, size_t capacity);
/// Sets that attribute; NULL removes it, which succeeds where there is none. Durable after cplatform_synchronize, whose
/// failure, told once for each open file, is the caller's.
int cplatform_set_attribute(int descriptor, const char *_Nonnull name, const void *_Nullable bytes, size_t length);
/// POSIX_FADV_DONTNEED on all of the file.
void cplatform_drop_cache(int descriptor);
/// 1 for a block device.
int cplatform_is_block_device(int descriptor);
/// 1 when the file lives in memory (tmpfs, ramfs), so that reading it never waits for a device.
int cplatform_is_in_memory(int descriptor);
/// Free bytes that an unprivileged writer can use on the file system of the file.
int64_t cplatform_free_space(int descriptor);
/// Takes a lock on the open file (OFD lock) without waiting; -EAGAIN when another open file has it.
int cplatform_lock(int descriptor, int exclusive);
/// Takes back what cplatform_lock has locked.
int cplatform_unlock(int descriptor);

/// Runs the program at words[0] with these arguments (a NULL ends them), without a shell, and reads what it writes to
/// its standard output, at most `size` bytes and for at most so many milliseconds. Gives how many, and its exit status
/// (less than 0: the signal that has ended it); or a negative error number, -ETIMEDOUT when it has not ended. What is
/// too long or too late is killed. `errors` gets the last bytes of its standard error, up to `*error_size`, which
/// becomes how many they are.
ssize_t cplatform_program_output(
    char *_Nullable const *_Nonnull words, void *_Nonnull bytes, size_t size, void *_Nonnull errors,
    size_t *_Nonnull error_size, int64_t milliseconds, int *_Nonnull status);
/// What a signal is called, without "SIG"; NULL for one without a name. The memory is static.
const char *_Nullable cplatform_signal_name(int number);

/// Starts the program at words[0] as cplatform_program_output does. Gives the descriptor of the pipe with its standard
/// output and error, and the number of its process; or a negative error number.
int cplatform_program_start(char *_Nullable const *_Nonnull words, int *_Nonnull process);
/// Reads what there is of such an output. Gives how many bytes, 0 at its end, -EAGAIN when there was nothing for so
/// many milliseconds, or another negative error number.
ssize_t cplatform_program_read(int input, void *_Nonnull bytes, size_t size, int milliseconds);
/// Looks whether such a process has ended, or kills it with its group and waits for that. Gives 0 and its exit status
/// (less than 0: the signal that has ended it), -EAGAIN when it goes on, or another negative error number.
int cplatform_program_end(int process, int kills, int *_Nonnull status);

#endif
