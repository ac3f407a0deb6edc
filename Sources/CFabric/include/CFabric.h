// CFabric: the calls of libibverbs and librdmacm that Fabric needs, as plain functions with a prefix.
//
// Both libraries are opened at run time, so the program starts where they are not installed; the calls that are inline
// functions in their headers are made here. Functions give 0, a count, or the negated errno. Nothing waits, but for the
// acknowledgement of an event by another thread when what it is about is destroyed.
#ifndef CFABRIC_H
#define CFABRIC_H

#include <stddef.h>
#include <stdint.h>

/// Opens the libraries; NULL, or the name of the one that cannot be opened or has not what is needed. Any thread, again
/// after a failure.
const char *_Nullable cfabric_load(void);
/// 0 when this process may use RDMA-CM; -ENODEV when the machine has no RDMA device, -ENOENT when it has no
/// /dev/infiniband/rdma_cm, or the negated errno of opening that.
int cfabric_check(void);
/// The limit of locked memory in bytes (RLIMIT_MEMLOCK), UINT64_MAX for none.
uint64_t cfabric_lock_limit(void);

// ---- devices

enum { CFABRIC_NAME_MAX = 64, CFABRIC_DEVICES_MAX = 16 };

/// What a device is and can do.
struct cfabric_device {
    char name[CFABRIC_NAME_MAX];
    uint64_t guid;
    /// 1 for InfiniBand, 2 for RoCE, 3 for iWARP.
    int32_t transport;
    int32_t work_requests;
    int32_t entries;
    int32_t read_entries;
    int32_t completions;
    int32_t responder_resources;
    int32_t initiator_depth;
    int32_t queue_pairs;
    int32_t regions;
    uint32_t message_length;
    /// It has memory windows of type 2, local invalidation and Send with Invalidate.
    int32_t has_invalidation;
};

/// Fills in the devices that RDMA-CM can use, CFABRIC_DEVICES_MAX at most; how many, or the negated errno.
int cfabric_devices(struct cfabric_device *_Nonnull devices);

// ---- connections

struct cfabric_channel;
struct cfabric_id;

enum cfabric_event_kind {
    CFABRIC_EVENT_RESOLVED = 1,
    CFABRIC_EVENT_NOT_RESOLVED,
    CFABRIC_EVENT_REQUEST,
    CFABRIC_EVENT_ESTABLISHED,
    CFABRIC_EVENT_REJECTED,
    CFABRIC_EVENT_UNREACHABLE,
    CFABRIC_EVENT_FAILED,
    CFABRIC_EVENT_DISCONNECTED,
    CFABRIC_EVENT_REMOVED,
    CFABRIC_EVENT_OTHER,
};

/// An event of the connection manager, copied and acknowledged.
struct cfabric_event {
    int32_t kind;
    /// A reason or error number of the transport, positive.
    int32_t status;
    struct cfabric_id *_Nullable id;
    uint64_t context;
    uint8_t responder_resources;
    uint8_t initiator_depth;
    uint8_t retry_count;
    uint8_t rnr_retry_count;
    uint8_t private_length;
    uint8_t private_data[255];
    char device[CFABRIC_NAME_MAX];
};

/// What rdma_connect and rdma_accept are told.
struct cfabric_parameters {
    uint8_t responder_resources;
    uint8_t initiator_depth;
    uint8_t retry_count;
    uint8_t rnr_retry_count;
    uint8_t private_length;
    const uint8_t *_Nullable private_data;
};

/// A channel for events, and its descriptor; or the negated errno.
int cfabric_open_channel(struct cfabric_channel *_Nullable *_Nonnull channel);
void cfabric_close_channel(struct cfabric_channel *_Nonnull channel);
/// 1 and the next event; 0 when there is none.
int cfabric_next_event(struct cfabric_channel *_Nonnull channel, struct cfabric_event *_Nonnull event);
/// Listens on a numeric address; the port, or the negated errno.
int cfabric_listen(
    struct cfabric_channel *_Nonnull channel, const char *_Nonnull host, uint16_t port, int backlog, uint64_t context,
    struct cfabric_id *_Nullable *_Nonnull id);
/// Begins to look for the way to a numeric address; `source` may be NULL.
int cfabric_resolve(
    struct cfabric_channel *_Nonnull channel, const char *_Nonnull host, uint16_t port, const char *_Nullable source,
    int milliseconds, uint64_t context, struct cfabric_id *_Nullable *_Nonnull id);
int cfabric_move(struct cfabric_id *_Nonnull id, struct cfabric_channel *_Nonnull channel, uint64_t context);
int cfabric_connect(struct cfabric_id *_Nonnull id, const struct cfabric_parameters *_Nonnull parameters);
int cfabric_accept(struct cfabric_id *_Nonnull id, const struct cfabric_parameters *_Nonnull parameters);
int cfabric_reject(struct cfabric_id *_Nonnull id, const uint8_t *_Nullable data, uint8_t length);
void cfabric_disconnect(struct cfabric_id *_Nonnull id);
/// The queue pair of the id is destroyed.
void cfabric_destroy_id(struct cfabric_id *_Nonnull id);
/// Writes the numeric host of an end and a zero, and gives the port; -1 when it is not known.
int cfabric_address(struct cfabric_id *_Nonnull id, int peer, char *_Nonnull text, size_t capacity);

// ---- domains and memory

struct cfabric_domain;

enum cfabric_async_kind {
    CFABRIC_ASYNC_QP_FATAL = 1,
    CFABRIC_ASYNC_QP_REQUEST,
    CFABRIC_ASYNC_QP_ACCESS,
    CFABRIC_ASYNC_ESTABLISHED,
    CFABRIC_ASYNC_CQ,
    CFABRIC_ASYNC_DEVICE,
    CFABRIC_ASYNC_PORT_ACTIVE,
    CFABRIC_ASYNC_PORT_ERROR,
    CFABRIC_ASYNC_OTHER,
};

struct cfabric_async_event {
    int32_t kind;
    /// The number of the event that is none of these.
    int32_t number;
    /// The domain it is for; NULL when it is for all domains of the device.
    struct cfabric_domain *_Nullable domain;
    /// The word of the queue pair, 0 when it is about none.
    uint64_t context;
};

/// A protection domain, and a descriptor that is readable when the device has an event or cfabric_signal was called.
int cfabric_open_domain(const char *_Nonnull device, struct cfabric_domain *_Nullable *_Nonnull domain);
void cfabric_close_domain(struct cfabric_domain *_Nonnull domain);
/// Whether both are on the same device.
int cfabric_same_device(struct cfabric_domain *_Nonnull one, struct cfabric_domain *_Nonnull other);
void cfabric_signal(struct cfabric_domain *_Nonnull domain);
void cfabric_clear_signal(struct cfabric_domain *_Nonnull domain);
/// 1 and the next event of the domain's device, whichever domain it is for; 0 when there is none.
int cfabric_next_async_event(struct cfabric_domain *_Nonnull domain, struct cfabric_async_event *_Nonnull event);

struct cfabric_region {
    void *_Nullable handle;
    uint32_t local_key;
    uint32_t remote_key;
};

int cfabric_register(
    struct cfabric_domain *_Nonnull domain, void *_Nonnull address, size_t length, int access,
    struct cfabric_region *_Nonnull region);
void cfabric_deregister(void *_Nonnull region);
/// A memory window of type 2.
int cfabric_allocate_window(struct cfabric_domain *_Nonnull domain, struct cfabric_region *_Nonnull window);
void cfabric_free_window(void *_Nonnull window);

// ---- work

struct cfabric_cq;
struct cfabric_qp;

struct cfabric_completion {
    uint64_t id;
    uint32_t status;
    uint32_t vendor_error;
    uint32_t byte_count;
    uint32_t invalidated_key;
    int32_t is_receive;
    int32_t has_invalidated_key;
};

enum { CFABRIC_POLL_MAX = 32, CFABRIC_BATCH_MAX = 64 };

/// The order of Fabric's WorkOpcode.
enum cfabric_opcode {
    CFABRIC_SEND,
    CFABRIC_SEND_WITH_INVALIDATE,
    CFABRIC_RDMA_WRITE,
    CFABRIC_RDMA_READ,
    CFABRIC_LOCAL_INVALIDATE,
    CFABRIC_BIND_WINDOW,
};

/// The bits of Fabric's WorkOptions.
enum { CFABRIC_SIGNALED = 1, CFABRIC_SOLICITED = 2, CFABRIC_INLINE = 4, CFABRIC_FENCED = 8 };

/// A scatter entry, as libibverbs has it.
struct cfabric_entry {
    uint64_t address;
    uint32_t length;
    uint32_t key;
};

/// A request of the send queue.
struct cfabric_send {
    uint64_t id;
    uint64_t address;
    uint64_t length;
    void *_Nullable window;
    void *_Nullable region;
    uint32_t key;
    uint16_t access;
    uint8_t opcode;
    uint8_t options;
};

/// A completion queue with a completion channel of its own, and the descriptor of that.
int cfabric_open_cq(
    struct cfabric_domain *_Nonnull domain, int capacity, struct cfabric_cq *_Nullable *_Nonnull queue);
void cfabric_close_cq(struct cfabric_cq *_Nonnull queue);
/// At most CFABRIC_POLL_MAX completions.
int cfabric_poll(struct cfabric_cq *_Nonnull queue, struct cfabric_completion *_Nonnull completions, int capacity);
void cfabric_arm(struct cfabric_cq *_Nonnull queue, int solicited_only);
/// Takes the channel's events, and acknowledges them.
void cfabric_acknowledge(struct cfabric_cq *_Nonnull queue);

int cfabric_create_qp(
    struct cfabric_id *_Nonnull id, struct cfabric_domain *_Nonnull domain, struct cfabric_cq *_Nonnull queue,
    int sends, int receives, int send_entries, int receive_entries, int inline_length, uint64_t context,
    struct cfabric_qp *_Nullable *_Nonnull pair);
void cfabric_destroy_qp(struct cfabric_qp *_Nonnull pair);
/// Brings it into the error state.
void cfabric_fail_qp(struct cfabric_qp *_Nonnull pair);
/// Puts a request at `index` of the batch of its queue pair; the entries stay where they are until it is posted.
void cfabric_set_send(
    struct cfabric_qp *_Nonnull pair, int index, const struct cfabric_send *_Nonnull request,
    const void *_Nullable entries, int count);
/// Posts the first `count` requests of the batch; how many were taken.
int cfabric_post_sends(struct cfabric_qp *_Nonnull pair, int count);
void cfabric_set_receive(
    struct cfabric_qp *_Nonnull pair, int index, uint64_t id, const void *_Nullable entries, int count);
int cfabric_post_receives(struct cfabric_qp *_Nonnull pair, int count);

#endif
