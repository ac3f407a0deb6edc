#define _GNU_SOURCE
#include "library.h"
#include "CFabric.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

// A channel and an id are those of librdmacm; the word of an id is its context.
static struct rdma_event_channel *channel_of(struct cfabric_channel *channel) { return (void *)channel; }
static struct rdma_cm_id *id_of(struct cfabric_id *id) { return (void *)id; }
static void *pointer(uint64_t word) { return (void *)(uintptr_t)word; }

/// How long the way to a resolved address is looked for.
enum { ROUTE_MILLISECONDS = 5000 };
/// The code for 0.64 ms of InfiniBand (volume 1, table 46): how long a peer waits that found no receive. librdmacm asks
/// for 655 ms.
enum { RNR_TIMER = 12 };

static int result(int status) { return status == 0 ? 0 : -(errno ? errno : EIO); }

static int make_address(const char *host, uint16_t port, struct sockaddr_storage *address) {
    memset(address, 0, sizeof *address);
    struct sockaddr_in *four = (void *)address;
    struct sockaddr_in6 *six = (void *)address;
    if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        return 0;
    }
    if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        return 0;
    }
    return -EINVAL;
}

int cfabric_open_channel(struct cfabric_channel **channel) {
    struct rdma_event_channel *made = cfabric_library.create_event_channel();
    if (!made) return -(errno ? errno : ENODEV);
    int status = cfabric_set_nonblocking(made->fd);
    if (status < 0) {
        cfabric_library.destroy_event_channel(made);
        return status;
    }
    *channel = (void *)made;
    return made->fd;
}

void cfabric_close_channel(struct cfabric_channel *channel) {
    cfabric_library.destroy_event_channel(channel_of(channel));
}

static void set_rnr_timer(struct rdma_cm_id *id) {
    if (!id->qp || id->verbs->device->transport_type == IBV_TRANSPORT_IWARP) return;
    struct ibv_qp_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.qp_state = IBV_QPS_RTS;
    attributes.min_rnr_timer = RNR_TIMER;
    // A device that refuses keeps the long time.
    cfabric_library.modify_qp(id->qp, &attributes, IBV_QP_STATE | IBV_QP_MIN_RNR_TIMER);
}

static void take_parameters(const struct rdma_cm_event *found, struct cfabric_event *event) {
    const struct rdma_conn_param *parameters = &found->param.conn;
    event->responder_resources = parameters->responder_resources;
    event->initiator_depth = parameters->initiator_depth;
    event->retry_count = parameters->retry_count;
    event->rnr_retry_count = parameters->rnr_retry_count;
    if (parameters->private_data) {
        event->private_length = parameters->private_data_len;
        memcpy(event->private_data, parameters->private_data, parameters->private_data_len);
    }
}

static int kind_of(enum rdma_cm_event_type event) {
    switch (event) {
    case RDMA_CM_EVENT_ROUTE_RESOLVED: return CFABRIC_EVENT_RESOLVED;
    case RDMA_CM_EVENT_ADDR_ERROR:
    case RDMA_CM_EVENT_ROUTE_ERROR: return CFABRIC_EVENT_NOT_RESOLVED;
    case RDMA_CM_EVENT_CONNECT_REQUEST: return CFABRIC_EVENT_REQUEST;
    case RDMA_CM_EVENT_ESTABLISHED: return CFABRIC_EVENT_ESTABLISHED;
    case RDMA_CM_EVENT_REJECTED: return CFABRIC_EVENT_REJECTED;
    case RDMA_CM_EVENT_UNREACHABLE: return CFABRIC_EVENT_UNREACHABLE;
    case RDMA_CM_EVENT_CONNECT_ERROR: return CFABRIC_EVENT_FAILED;
    case RDMA_CM_EVENT_DISCONNECTED: return CFABRIC_EVENT_DISCONNECTED;
    case RDMA_CM_EVENT_DEVICE_REMOVAL: return CFABRIC_EVENT_REMOVED;
    default: return CFABRIC_EVENT_OTHER;
    }
}

int cfabric_next_event(struct cfabric_channel *channel, struct cfabric_event *event) {
    struct rdma_cm_event *found;
    if (cfabric_library.get_cm_event(channel_of(channel), &found) != 0) return 0;
    struct rdma_cm_id *id = found->id;
    enum rdma_cm_event_type type = found->event;
    memset(event, 0, sizeof *event);
    event->kind = kind_of(type);
    event->id = (void *)id;
    // Of a request this is the word of the listener, which the new id has from it.
    event->context = (uint64_t)(uintptr_t)(found->listen_id ? found->listen_id->context : id->context);
    event->status = found->status < 0 ? -found->status : found->status;
    if (type == RDMA_CM_EVENT_CONNECT_REQUEST || type == RDMA_CM_EVENT_ESTABLISHED || type == RDMA_CM_EVENT_REJECTED)
        take_parameters(found, event);
    if (id->verbs) strncpy(event->device, id->verbs->device->name, sizeof event->device - 1);
    if (event->kind == CFABRIC_EVENT_OTHER) event->status = type;
    // At once: whoever destroys or moves the id waits for this.
    cfabric_library.ack_cm_event(found);
    if (type == RDMA_CM_EVENT_ADDR_RESOLVED && cfabric_library.resolve_route(id, ROUTE_MILLISECONDS) != 0) {
        event->kind = CFABRIC_EVENT_NOT_RESOLVED;
        event->status = errno;
    }
    if (type == RDMA_CM_EVENT_ESTABLISHED) set_rnr_timer(id);
    return 1;
}

/// Makes an id, on which `work` is done by the caller.
static int make_id(struct cfabric_channel *channel, uint64_t context, struct rdma_cm_id **id) {
    return result(cfabric_library.create_id(channel_of(channel), id, pointer(context), RDMA_PS_TCP));
}

int cfabric_listen(
    struct cfabric_channel *channel, const char *host, uint16_t port, int backlog, uint64_t context,
    struct cfabric_id **id) {
    struct sockaddr_storage address;
    int status = make_address(host, port, &address);
    if (status < 0) return status;
    struct rdma_cm_id *made;
    if ((status = make_id(channel, context, &made)) < 0) return status;
    int one = 1;
    cfabric_library.set_option(made, RDMA_OPTION_ID, RDMA_OPTION_ID_REUSEADDR, &one, sizeof one);
    // The IPv6 wildcard leaves IPv4 to a listener of its own, as with TCP.
    if (address.ss_family == AF_INET6)
        cfabric_library.set_option(made, RDMA_OPTION_ID, RDMA_OPTION_ID_AFONLY, &one, sizeof one);
    status = result(cfabric_library.bind_addr(made, (struct sockaddr *)&address));
    if (status == 0) status = result(cfabric_library.listen(made, backlog));
    if (status < 0) {
        cfabric_library.destroy_id(made);
        return status;
    }
    *id = (void *)made;
    return ntohs(cfabric_library.get_src_port(made));
}

int cfabric_resolve(
    struct cfabric_channel *channel, const char *host, uint16_t port, const char *source, int milliseconds,
    uint64_t context, struct cfabric_id **id) {
    struct sockaddr_storage address, own;
    int status = make_address(host, port, &address);
    if (status == 0 && source) status = make_address(source, 0, &own);
    if (status < 0) return status;
    struct rdma_cm_id *made;
    if ((status = make_id(channel, context, &made)) < 0) return status;
    struct sockaddr *from = source ? (struct sockaddr *)&own : NULL;
    status = result(cfabric_library.resolve_addr(made, from, (struct sockaddr *)&address, milliseconds));
    if (status < 0) {
        cfabric_library.destroy_id(made);
        return status;
    }
    *id = (void *)made;
    return 0;
}

int cfabric_move(struct cfabric_id *id, struct cfabric_channel *channel, uint64_t context) {
    struct rdma_cm_id *moved = id_of(id);
    if (moved->channel != channel_of(channel)) {
        int status = result(cfabric_library.migrate_id(moved, channel_of(channel)));
        if (status < 0) return status;
    }
    // Now, when no other thread takes events of it: the word means nothing on the old one.
    moved->context = pointer(context);
    return 0;
}

static struct rdma_conn_param parameters_of(const struct cfabric_parameters *parameters) {
    struct rdma_conn_param result;
    memset(&result, 0, sizeof result);
    result.private_data = parameters->private_data;
    result.private_data_len = parameters->private_length;
    result.responder_resources = parameters->responder_resources;
    result.initiator_depth = parameters->initiator_depth;
    result.retry_count = parameters->retry_count;
    result.rnr_retry_count = parameters->rnr_retry_count;
    return result;
}

int cfabric_connect(struct cfabric_id *id, const struct cfabric_parameters *parameters) {
    struct rdma_conn_param told = parameters_of(parameters);
    return result(cfabric_library.connect(id_of(id), &told));
}

int cfabric_accept(struct cfabric_id *id, const struct cfabric_parameters *parameters) {
    struct rdma_conn_param told = parameters_of(parameters);
    int status = result(cfabric_library.accept(id_of(id), &told));
    if (status == 0) set_rnr_timer(id_of(id));
    return status;
}

int cfabric_reject(struct cfabric_id *id, const uint8_t *data, uint8_t length) {
    return result(cfabric_library.reject(id_of(id), length > 0 ? data : NULL, length));
}

void cfabric_disconnect(struct cfabric_id *id) { cfabric_library.disconnect(id_of(id)); }

void cfabric_destroy_id(struct cfabric_id *id) { cfabric_library.destroy_id(id_of(id)); }

int cfabric_address(struct cfabric_id *id, int peer, char *text, size_t capacity) {
    const struct rdma_addr *ends = &id_of(id)->route.addr;
    const struct sockaddr *address = peer ? &ends->dst_addr : &ends->src_addr;
    const struct sockaddr_in *four = (const void *)address;
    const struct sockaddr_in6 *six = (const void *)address;
    if (address->sa_family == AF_INET && inet_ntop(AF_INET, &four->sin_addr, text, capacity))
        return ntohs(four->sin_port);
    if (address->sa_family == AF_INET6 && inet_ntop(AF_INET6, &six->sin6_addr, text, capacity))
        return ntohs(six->sin6_port);
    return -1;
}
