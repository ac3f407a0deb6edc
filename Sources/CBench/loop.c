// The bare loop: epoll, recv, pread or pwrite, send, and nothing else. It knows as much of iSCSI and SCSI as this
// program's load generator needs (RFC 7143; no digests, no errors, no checks) and believes everything it is told. What
// it costs is the kernel's part of a target that reads and writes its file by system calls. With the file mapped it
// copies instead, and no target that answers through sockets gets far below that.

#define _GNU_SOURCE
#include "CBench.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    BHS = 48,
    BLOCK = 512,
    RECEIVE = 262144,        // of one reception, and of one data segment
    SEND = 8 << 20,          // of what is sent together
    EARLY = 512 << 10,       // sent before all commands of a reception are done
    TOGETHER = 16,           // answers that are sent before the rest is done, when no other connection waits
    TAGS = 1024,             // commands of a connection
    WINDOW = 128,
    EVENTS = 64,
    SOCKET_BUFFER = 4 << 20,
};

struct command {
    int64_t offset;          // of its first byte in the file
    uint32_t length, received;
};

struct connection {
    int socket;
    uint32_t stat_sn, exp_cmd_sn;
    uint32_t receives;       // the longest data segment that the initiator takes
    uint32_t max_burst;
    uint8_t kept[BHS];
    uint32_t kept_count;
    // A data segment of which a part has come.
    uint32_t remaining, padding;
    int64_t offset;
    uint32_t tag;
    struct command commands[TAGS];
};

struct cbench_loop {
    pthread_t thread;
    int listener, epoll, wake, file;
    uint8_t *mapping;        // the whole file; NULL when it is read and written by system calls
    uint64_t blocks;
    struct connection *connections[4096];
    int count;
    int ready;               // connections with something to do in this turn
    uint8_t *input;          // what was kept and what was received
    uint8_t *output;         // headers and data of answers
    size_t queued, answers;
};

static uint32_t get32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return be32toh(value);
}

static void put32(uint8_t *bytes, uint32_t value) {
    value = htobe32(value);
    memcpy(bytes, &value, sizeof value);
}

static uint32_t length_of(const uint8_t *header) { return get32(header + 4) & 0xFFFFFF; }

// Sends what is queued and waits until all is taken.
static int flush(struct cbench_loop *loop, struct connection *peer) {
    size_t done = 0;
    while (done < loop->queued) {
        ssize_t count = send(peer->socket, loop->output + done, loop->queued - done, MSG_NOSIGNAL);
        if (count < 0 && errno != EINTR) return -1;
        if (count > 0) done += count;
    }
    loop->queued = 0;
    loop->answers = 0;
    return 0;
}

// A header of the answer to `tag`, with status counters.
static uint8_t *begin(struct cbench_loop *loop, struct connection *peer, uint8_t opcode, uint8_t flags,
                      const uint8_t *tag) {
    uint8_t *header = loop->output + loop->queued;
    memset(header, 0, BHS);
    header[0] = opcode;
    header[1] = flags;
    memcpy(header + 16, tag, 4);
    put32(header + 28, peer->exp_cmd_sn);
    put32(header + 32, peer->exp_cmd_sn + WINDOW - 1);
    loop->queued += BHS;
    return header;
}

static void respond(struct cbench_loop *loop, struct connection *peer, const uint8_t *tag) {
    uint8_t *header = begin(loop, peer, 0x21, 0x80, tag);
    put32(header + 24, peer->stat_sn++);
    loop->answers++;
}

// --- Login -----------------------------------------------------------------------------------------------------------

static size_t add_key(char *text, size_t at, const char *key, const char *value) {
    return at + sprintf(text + at, "%s=%s", key, value) + 1;
}

// Takes every offer, declares its own data segment length.
static size_t answer_keys(struct connection *peer, const char *offers, size_t length, char *text) {
    static const char *const fixed[][2] = {
        {"AuthMethod", "None"}, {"HeaderDigest", "None"}, {"DataDigest", "None"}, {"InitialR2T", "No"},
        {"ImmediateData", "Yes"}, {"MaxConnections", "1"}, {"ErrorRecoveryLevel", "0"}, {"DataPDUInOrder", "Yes"},
        {"DataSequenceInOrder", "Yes"}, {"iSCSIProtocolLevel", "1"}, {"TaskReporting", "RFC3720"},
    };
    static const char *const echoed[] = {
        "MaxBurstLength", "FirstBurstLength", "DefaultTime2Wait", "DefaultTime2Retain", "MaxOutstandingR2T",
    };
    size_t at = 0;
    for (const char *pair = offers; pair < offers + length; pair += strlen(pair) + 1) {
        const char *equals = strchr(pair, '=');
        if (!equals) continue;
        char key[64] = {0};
        memcpy(key, pair, equals - pair < 63 ? equals - pair : 63);
        for (size_t index = 0; index < sizeof fixed / sizeof *fixed; index++)
            if (strcmp(key, fixed[index][0]) == 0) at = add_key(text, at, key, fixed[index][1]);
        for (size_t index = 0; index < sizeof echoed / sizeof *echoed; index++)
            if (strcmp(key, echoed[index]) == 0) at = add_key(text, at, key, equals + 1);
        if (strcmp(key, "MaxBurstLength") == 0) peer->max_burst = atoi(equals + 1);
        if (strcmp(key, "TargetName") == 0) at = add_key(text, at, "TargetPortalGroupTag", "1");
        if (strcmp(key, "MaxRecvDataSegmentLength") == 0) {
            peer->receives = atoi(equals + 1);
            char own[16];
            sprintf(own, "%d", RECEIVE);
            at = add_key(text, at, key, own);
        }
    }
    return at;
}

static void log_in(struct cbench_loop *loop, struct connection *peer, const uint8_t *header, const uint8_t *data) {
    char offers[8193], text[8192];
    size_t length = length_of(header) < 8192 ? length_of(header) : 8192;
    memcpy(offers, data, length);
    offers[length] = 0;
    peer->exp_cmd_sn = get32(header + 24);
    size_t count = answer_keys(peer, offers, length, text);
    uint8_t *answer = begin(loop, peer, 0x23, header[1], header + 16);
    memcpy(answer + 8, header + 8, 6);
    answer[15] = 1; // TSIH
    put32(answer + 4, count);
    put32(answer + 24, peer->stat_sn++);
    memcpy(loop->output + loop->queued, text, count);
    memset(loop->output + loop->queued + count, 0, -count & 3);
    loop->queued += count + (-count & 3);
}

// --- Commands --------------------------------------------------------------------------------------------------------

// Data-In, with the status in the last.
static int answer_data(struct cbench_loop *loop, struct connection *peer, const uint8_t *tag, const void *data,
                       int64_t offset, uint32_t length) {
    uint32_t done = 0, number = 0;
    while (done < length) {
        uint32_t count = length - done < peer->receives ? length - done : peer->receives;
        int last = done + count == length;
        if (loop->queued + BHS + count > SEND && flush(loop, peer) < 0) return -1;
        uint8_t *header = begin(loop, peer, 0x25, last ? 0x81 : 0, tag);
        put32(header + 4, count);
        put32(header + 20, 0xFFFFFFFF);
        if (last) put32(header + 24, peer->stat_sn++);
        put32(header + 36, number++);
        put32(header + 40, done);
        uint8_t *target = loop->output + loop->queued;
        if (data) memcpy(target, (const uint8_t *)data + done, count);
        else if (loop->mapping) memcpy(target, loop->mapping + offset + done, count);
        else if (pread(loop->file, target, count, offset + done) != (ssize_t)count) return -1;
        memset(target + count, 0, -count & 3);
        loop->queued += count + (-count & 3);
        done += count;
    }
    loop->answers++;
    return loop->queued >= EARLY ? flush(loop, peer) : 0;
}

static uint64_t address_of(const uint8_t *cdb) {
    return cdb[0] & 0x80 ? (uint64_t)get32(cdb + 2) << 32 | get32(cdb + 6) : get32(cdb + 2);
}

static int answer_read(struct cbench_loop *loop, struct connection *peer, const uint8_t *header) {
    const uint8_t *cdb = header + 32;
    switch (cdb[0]) {
    case 0x12: { // INQUIRY: a disk
        uint8_t data[36] = {0, 0, 6, 2, 31};
        memcpy(data + 8, "CAROUSELBARE LOOP       0   ", 28);
        return answer_data(loop, peer, header + 16, data, 0, get32(header + 20) < 36 ? get32(header + 20) : 36);
    }
    case 0x9E: { // READ CAPACITY(16)
        uint8_t data[32] = {0};
        put32(data, (loop->blocks - 1) >> 32);
        put32(data + 4, loop->blocks - 1);
        put32(data + 8, BLOCK);
        return answer_data(loop, peer, header + 16, data, 0, 32);
    }
    default: // READ(10) and (16)
        return answer_data(loop, peer, header + 16, NULL, address_of(cdb) * BLOCK, get32(header + 20));
    }
}

// A part of a command's data has been written: asks for more of it, or says that all is here.
static void progress(struct cbench_loop *loop, struct connection *peer, uint32_t tag, uint32_t count) {
    struct command *command = &peer->commands[tag % TAGS];
    uint8_t bytes[4];
    put32(bytes, tag);
    command->received += count;
    if (command->received == command->length) return respond(loop, peer, bytes);
    if (command->received % peer->max_burst != 0 && command->received > RECEIVE) return; // within a burst
    uint32_t rest = command->length - command->received;
    uint8_t *header = begin(loop, peer, 0x31, 0x80, bytes);
    put32(header + 20, tag);
    put32(header + 24, peer->stat_sn);
    put32(header + 40, command->received);
    put32(header + 44, rest < peer->max_burst ? rest : peer->max_burst);
}

// One header and as much of its data as there is; how many bytes it took, 0 when more must come, negative when it
// failed.
static ssize_t handle(struct cbench_loop *loop, struct connection *peer, const uint8_t *bytes, size_t count) {
    uint32_t length = length_of(bytes), padded = (length + 3) & ~3u;
    uint8_t opcode = bytes[0] & 0x3F;
    uint32_t tag = get32(bytes + 16);
    if (opcode == 0x03) {
        if (count < BHS + padded) return 0;
        log_in(loop, peer, bytes, bytes + BHS);
        return BHS + padded;
    }
    if (opcode == 0x01) {
        peer->exp_cmd_sn = get32(bytes + 24) + 1;
        if (bytes[1] & 0x40) return answer_read(loop, peer, bytes) < 0 ? -1 : BHS;
        if (!(bytes[1] & 0x20)) { // TEST UNIT READY
            respond(loop, peer, bytes + 16);
            return BHS;
        }
        peer->commands[tag % TAGS] =
            (struct command){.offset = (int64_t)address_of(bytes + 32) * BLOCK, .length = get32(bytes + 20)};
        peer->offset = peer->commands[tag % TAGS].offset;
    } else if (opcode == 0x05) {
        peer->offset = peer->commands[tag % TAGS].offset + get32(bytes + 40);
    } else {
        return -1;
    }
    peer->tag = tag;
    peer->remaining = length;
    peer->padding = padded - length;
    return BHS;
}

// Writes what is there of a data segment.
static ssize_t take_data(struct cbench_loop *loop, struct connection *peer, const uint8_t *bytes, size_t count) {
    size_t part = count < peer->remaining ? count : peer->remaining;
    if (part > 0 && loop->mapping) memcpy(loop->mapping + peer->offset, bytes, part);
    else if (part > 0 && pwrite(loop->file, bytes, part, peer->offset) != (ssize_t)part) return -1;
    peer->offset += part;
    peer->remaining -= part;
    peer->commands[peer->tag % TAGS].received += part;
    if (peer->remaining > 0) return part;
    progress(loop, peer, peer->tag, 0);
    return part;
}

static int receive(struct cbench_loop *loop, struct connection *peer) {
    memcpy(loop->input, peer->kept, peer->kept_count);
    ssize_t received = recv(peer->socket, loop->input + peer->kept_count, RECEIVE + BHS, MSG_DONTWAIT);
    if (received < 0) return errno == EAGAIN ? 0 : -1;
    if (received == 0) return -1;
    size_t count = peer->kept_count + received, at = 0;
    while (at < count) {
        ssize_t used;
        if (peer->remaining > 0) {
            used = take_data(loop, peer, loop->input + at, count - at);
        } else if (peer->padding > 0) {
            used = peer->padding < count - at ? peer->padding : count - at;
            peer->padding -= used;
        } else if (count - at < BHS) {
            break;
        } else {
            used = handle(loop, peer, loop->input + at, count - at);
            if (used == 0) return -1; // a login that came in pieces: not from this program
        }
        if (used < 0) return -1;
        at += used;
        if (loop->answers >= TOGETHER && loop->ready == 1 && flush(loop, peer) < 0) return -1;
    }
    peer->kept_count = count - at;
    memcpy(peer->kept, loop->input + at, peer->kept_count);
    return flush(loop, peer);
}

// --- Connections -----------------------------------------------------------------------------------------------------

static void add(struct cbench_loop *loop, int descriptor, void *pointer) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = pointer};
    epoll_ctl(loop->epoll, EPOLL_CTL_ADD, descriptor, &event);
}

static void accept_one(struct cbench_loop *loop) {
    int socket = accept4(loop->listener, NULL, NULL, SOCK_CLOEXEC), one = 1;
    if (socket < 0) return;
    if (loop->count == sizeof loop->connections / sizeof *loop->connections) {
        close(socket);
        return;
    }
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct connection *peer = calloc(1, sizeof *peer);
    peer->socket = socket;
    peer->receives = 8192;
    peer->max_burst = RECEIVE;
    peer->stat_sn = 1;
    loop->connections[loop->count++] = peer;
    add(loop, socket, peer);
}

static void drop(struct cbench_loop *loop, struct connection *peer) {
    for (int index = 0; index < loop->count; index++)
        if (loop->connections[index] == peer) loop->connections[index] = loop->connections[--loop->count];
    close(peer->socket);
    free(peer);
    loop->queued = 0;
    loop->answers = 0;
}

static void *run(void *argument) {
    struct cbench_loop *loop = argument;
    pthread_setname_np(pthread_self(), "bare-loop");
    struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(loop->epoll, events, EVENTS, -1);
        loop->ready = count;
        for (int index = 0; index < count; index++) {
            void *pointer = events[index].data.ptr;
            if (pointer == &loop->wake) return NULL;
            if (pointer == &loop->listener) accept_one(loop);
            else if (receive(loop, pointer) < 0) drop(loop, pointer);
        }
    }
}

static int listen_on_loopback(uint16_t *port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), size = SOCKET_BUFFER;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (listener < 0) return -1;
    setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 1024) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0) {
        close(listener);
        return -1;
    }
    *port = ntohs(address.sin_port);
    return listener;
}

static void release(struct cbench_loop *loop) {
    for (int index = 0; index < loop->count; index++) {
        close(loop->connections[index]->socket);
        free(loop->connections[index]);
    }
    const int descriptors[] = {loop->listener, loop->epoll, loop->wake, loop->file};
    for (size_t index = 0; index < sizeof descriptors / sizeof *descriptors; index++)
        if (descriptors[index] >= 0) close(descriptors[index]);
    if (loop->mapping) munmap(loop->mapping, loop->blocks * BLOCK);
    free(loop->input);
    free(loop->output);
    free(loop);
}

static bool map(struct cbench_loop *loop, off_t length) {
    void *address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, loop->file, 0);
    loop->mapping = address == MAP_FAILED ? NULL : address;
    return loop->mapping;
}

struct cbench_loop *cbench_loop_start(const char *path, int is_mapped, uint16_t *port) {
    struct cbench_loop *loop = calloc(1, sizeof *loop);
    struct stat status;
    if (!loop) return NULL;
    loop->listener = listen_on_loopback(port);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->wake = eventfd(0, EFD_CLOEXEC);
    loop->file = open(path, O_RDWR | O_CLOEXEC);
    loop->input = aligned_alloc(4096, 2 * RECEIVE);
    loop->output = aligned_alloc(4096, SEND + RECEIVE);
    if (loop->listener >= 0 && loop->epoll >= 0 && loop->wake >= 0 && loop->file >= 0 && loop->input && loop->output &&
        fstat(loop->file, &status) == 0 && (!is_mapped || map(loop, status.st_size))) {
        loop->blocks = status.st_size / BLOCK;
        add(loop, loop->listener, &loop->listener);
        add(loop, loop->wake, &loop->wake);
        if (pthread_create(&loop->thread, NULL, run, loop) == 0) return loop;
    }
    int error = errno;
    release(loop);
    errno = error;
    return NULL;
}

int64_t cbench_loop_nanoseconds(struct cbench_loop *loop) {
    clockid_t clock;
    struct timespec time;
    if (pthread_getcpuclockid(loop->thread, &clock) != 0 || clock_gettime(clock, &time) < 0) return -1;
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void cbench_loop_stop(struct cbench_loop *loop) {
    eventfd_write(loop->wake, 1);
    pthread_join(loop->thread, NULL);
    release(loop);
}
