#define _GNU_SOURCE
#include "library.h"
#include "CFabric.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

_Static_assert(sizeof(struct cfabric_entry) == sizeof(struct ibv_sge), "entries are passed as they are");
_Static_assert(offsetof(struct cfabric_entry, length) == offsetof(struct ibv_sge, length), "as above");
_Static_assert(offsetof(struct cfabric_entry, key) == offsetof(struct ibv_sge, lkey), "as above");
_Static_assert(CFABRIC_BATCH_MAX == sizeof(((struct cfabric_qp *)0)->sends) / sizeof(struct ibv_send_wr), "the batch");

struct cfabric_cq {
    struct ibv_comp_channel *channel;
    struct ibv_cq *cq;
    /// The flags of a receive whose sender has invalidated a key.
    unsigned int invalidation_flags;
};

/// The vendor that soft RoCE (rdma_rxe) names. Its kernel module hands flags to programs as the kernel numbers them, in
/// which a key was invalidated where libibverbs has a sound checksum, which no reliable connection reports.
enum { SOFT_ROCE_VENDOR = 0xFFFFFF };

static int failure(void) { return -(errno ? errno : EIO); }

// ---- domains

static int watch(int epoll, int descriptor) {
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
}

int cfabric_open_domain(const char *name, struct cfabric_domain **domain) {
    int count = 0;
    struct cfabric_domain *made = calloc(1, sizeof *made);
    if (!made) return -ENOMEM;
    made->epoll = made->event = -1;
    // The list keeps the device open, and is that of RDMA-CM, whose ids use the same context.
    made->devices = cfabric_library.get_devices(&count);
    for (int i = 0; made->devices && i < count; i++)
        if (strcmp(made->devices[i]->device->name, name) == 0) made->context = made->devices[i];
    int status = -ENODEV;
    if (made->context && (status = cfabric_set_nonblocking(made->context->async_fd)) == 0) {
        made->epoll = epoll_create1(EPOLL_CLOEXEC);
        made->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        made->pd = cfabric_library.alloc_pd(made->context);
        status = made->epoll < 0 || made->event < 0 || !made->pd ? failure() : 0;
        if (status == 0 && (watch(made->epoll, made->context->async_fd) < 0 || watch(made->epoll, made->event) < 0))
            status = failure();
    }
    if (status < 0) {
        cfabric_close_domain(made);
        return status;
    }
    *domain = made;
    return made->epoll;
}

void cfabric_close_domain(struct cfabric_domain *domain) {
    if (domain->pd) cfabric_library.dealloc_pd(domain->pd);
    if (domain->event >= 0) close(domain->event);
    if (domain->epoll >= 0) close(domain->epoll);
    if (domain->devices) cfabric_library.free_devices(domain->devices);
    free(domain);
}

int cfabric_same_device(struct cfabric_domain *one, struct cfabric_domain *other) {
    return one->context == other->context;
}

void cfabric_signal(struct cfabric_domain *domain) { eventfd_write(domain->event, 1); }

void cfabric_clear_signal(struct cfabric_domain *domain) {
    eventfd_t value;
    eventfd_read(domain->event, &value);
}

static int async_kind(enum ibv_event_type type) {
    switch (type) {
    case IBV_EVENT_QP_FATAL: return CFABRIC_ASYNC_QP_FATAL;
    case IBV_EVENT_QP_REQ_ERR: return CFABRIC_ASYNC_QP_REQUEST;
    case IBV_EVENT_QP_ACCESS_ERR: return CFABRIC_ASYNC_QP_ACCESS;
    case IBV_EVENT_COMM_EST: return CFABRIC_ASYNC_ESTABLISHED;
    case IBV_EVENT_CQ_ERR: return CFABRIC_ASYNC_CQ;
    case IBV_EVENT_DEVICE_FATAL: return CFABRIC_ASYNC_DEVICE;
    case IBV_EVENT_PORT_ACTIVE: return CFABRIC_ASYNC_PORT_ACTIVE;
    case IBV_EVENT_PORT_ERR: return CFABRIC_ASYNC_PORT_ERROR;
    default: return CFABRIC_ASYNC_OTHER;
    }
}

/// Whether element.qp is what the event is about.
static int is_about_queue_pair(enum ibv_event_type type) {
    switch (type) {
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
    case IBV_EVENT_COMM_EST:
    case IBV_EVENT_SQ_DRAINED:
    case IBV_EVENT_PATH_MIG:
    case IBV_EVENT_PATH_MIG_ERR:
    case IBV_EVENT_QP_LAST_WQE_REACHED: return 1;
    default: return 0;
    }
}

int cfabric_next_async_event(struct cfabric_domain *domain, struct cfabric_async_event *event) {
    struct ibv_async_event found;
    if (cfabric_library.get_async_event(domain->context, &found) != 0) return 0;
    memset(event, 0, sizeof *event);
    event->kind = async_kind(found.event_type);
    event->number = found.event_type;
    // Queue pair and queue are there until the event is acknowledged.
    if (is_about_queue_pair(found.event_type)) {
        struct cfabric_qp *pair = found.element.qp->qp_context;
        event->domain = pair->domain;
        event->context = pair->context;
        if (found.event_type == IBV_EVENT_COMM_EST) cfabric_library.notify(pair->id, found.event_type);
    } else if (found.event_type == IBV_EVENT_CQ_ERR) {
        event->domain = found.element.cq->cq_context;
    }
    cfabric_library.ack_async_event(&found);
    return 1;
}

// ---- memory

int cfabric_register(
    struct cfabric_domain *domain, void *address, size_t length, int access, struct cfabric_region *region) {
    struct ibv_mr *made = cfabric_library.reg_mr(domain->pd, address, length, access);
    if (!made) return failure();
    region->handle = made;
    region->local_key = made->lkey;
    region->remote_key = made->rkey;
    return 0;
}

void cfabric_deregister(void *region) { cfabric_library.dereg_mr(region); }

int cfabric_allocate_window(struct cfabric_domain *domain, struct cfabric_region *window) {
    errno = 0;
    struct ibv_mw *made = ibv_alloc_mw(domain->pd, IBV_MW_TYPE_2);
    if (!made) return failure();
    window->handle = made;
    window->local_key = window->remote_key = made->rkey;
    return 0;
}

void cfabric_free_window(void *window) { ibv_dealloc_mw(window); }

// ---- completion queues

int cfabric_open_cq(struct cfabric_domain *domain, int capacity, struct cfabric_cq **queue) {
    struct cfabric_cq *made = calloc(1, sizeof *made);
    if (!made) return -ENOMEM;
    int status = 0;
    struct ibv_device_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    made->invalidation_flags = IBV_WC_WITH_INV;
    if (cfabric_library.query_device(domain->context, &attributes) == 0 && attributes.vendor_id == SOFT_ROCE_VENDOR)
        made->invalidation_flags |= IBV_WC_IP_CSUM_OK;
    made->channel = cfabric_library.create_comp_channel(domain->context);
    if (!made->channel) status = failure();
    if (status == 0) status = cfabric_set_nonblocking(made->channel->fd);
    if (status == 0) {
        made->cq = cfabric_library.create_cq(domain->context, capacity, domain, made->channel, 0);
        if (!made->cq) status = failure();
    }
    if (status < 0) {
        cfabric_close_cq(made);
        return status;
    }
    *queue = made;
    return made->channel->fd;
}

void cfabric_close_cq(struct cfabric_cq *queue) {
    if (queue->cq) {
        cfabric_acknowledge(queue);
        cfabric_library.destroy_cq(queue->cq);
    }
    if (queue->channel) cfabric_library.destroy_comp_channel(queue->channel);
    free(queue);
}

int cfabric_poll(struct cfabric_cq *queue, struct cfabric_completion *completions, int capacity) {
    struct ibv_wc found[CFABRIC_POLL_MAX];
    int count = ibv_poll_cq(queue->cq, capacity < CFABRIC_POLL_MAX ? capacity : CFABRIC_POLL_MAX, found);
    for (int i = 0; i < count; i++) {
        struct cfabric_completion *completion = &completions[i];
        completion->id = found[i].wr_id;
        completion->status = found[i].status;
        completion->vendor_error = found[i].vendor_err;
        // After an error the other fields have no meaning.
        int is_success = found[i].status == IBV_WC_SUCCESS;
        completion->is_receive = is_success && (found[i].opcode & IBV_WC_RECV) != 0;
        completion->byte_count = completion->is_receive ? found[i].byte_len : 0;
        int is_invalidation = (found[i].wc_flags & queue->invalidation_flags) != 0;
        completion->has_invalidated_key = completion->is_receive && is_invalidation;
        completion->invalidated_key = completion->has_invalidated_key ? found[i].invalidated_rkey : 0;
    }
    return count > 0 ? count : 0;
}

void cfabric_arm(struct cfabric_cq *queue, int solicited_only) { ibv_req_notify_cq(queue->cq, solicited_only); }

void cfabric_acknowledge(struct cfabric_cq *queue) {
    struct ibv_cq *found;
    void *context;
    unsigned int count = 0;
    while (cfabric_library.get_cq_event(queue->channel, &found, &context) == 0) count++;
    if (count > 0) cfabric_library.ack_cq_events(queue->cq, count);
}

// ---- queue pairs

int cfabric_create_qp(
    struct cfabric_id *id, struct cfabric_domain *domain, struct cfabric_cq *queue, int sends, int receives,
    int send_entries, int receive_entries, int inline_length, uint64_t context, struct cfabric_qp **pair) {
    struct cfabric_qp *made = calloc(1, sizeof *made);
    if (!made) return -ENOMEM;
    made->id = (void *)id;
    made->domain = domain;
    made->context = context;
    struct ibv_qp_init_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.qp_context = made;
    attributes.send_cq = attributes.recv_cq = queue->cq;
    attributes.qp_type = IBV_QPT_RC;
    attributes.cap.max_send_wr = sends;
    attributes.cap.max_recv_wr = receives;
    attributes.cap.max_send_sge = send_entries;
    attributes.cap.max_recv_sge = receive_entries;
    attributes.cap.max_inline_data = inline_length;
    errno = 0;
    if (cfabric_library.create_qp(made->id, domain->pd, &attributes) != 0) {
        free(made);
        return failure();
    }
    made->qp = made->id->qp;
    *pair = made;
    return 0;
}

void cfabric_destroy_qp(struct cfabric_qp *pair) {
    cfabric_library.destroy_qp(pair->id);
    free(pair);
}

void cfabric_fail_qp(struct cfabric_qp *pair) {
    struct ibv_qp_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.qp_state = IBV_QPS_ERR;
    cfabric_library.modify_qp(pair->qp, &attributes, IBV_QP_STATE);
}

static enum ibv_wr_opcode opcode_of(int opcode) {
    switch (opcode) {
    case CFABRIC_SEND_WITH_INVALIDATE: return IBV_WR_SEND_WITH_INV;
    case CFABRIC_RDMA_WRITE: return IBV_WR_RDMA_WRITE;
    case CFABRIC_RDMA_READ: return IBV_WR_RDMA_READ;
    case CFABRIC_LOCAL_INVALIDATE: return IBV_WR_LOCAL_INV;
    case CFABRIC_BIND_WINDOW: return IBV_WR_BIND_MW;
    default: return IBV_WR_SEND;
    }
}

static unsigned int flags_of(int options) {
    unsigned int flags = 0;
    if (options & CFABRIC_SIGNALED) flags |= IBV_SEND_SIGNALED;
    if (options & CFABRIC_SOLICITED) flags |= IBV_SEND_SOLICITED;
    if (options & CFABRIC_INLINE) flags |= IBV_SEND_INLINE;
    if (options & CFABRIC_FENCED) flags |= IBV_SEND_FENCE;
    return flags;
}

void cfabric_set_send(
    struct cfabric_qp *pair, int index, const struct cfabric_send *request, const void *entries, int count) {
    struct ibv_send_wr *work = &pair->sends[index];
    memset(work, 0, sizeof *work);
    work->wr_id = request->id;
    work->sg_list = (struct ibv_sge *)(uintptr_t)entries;
    work->num_sge = count;
    work->opcode = opcode_of(request->opcode);
    work->send_flags = flags_of(request->options);
    switch (request->opcode) {
    case CFABRIC_RDMA_WRITE:
    case CFABRIC_RDMA_READ:
        work->wr.rdma.remote_addr = request->address;
        work->wr.rdma.rkey = request->key;
        break;
    case CFABRIC_SEND_WITH_INVALIDATE:
    case CFABRIC_LOCAL_INVALIDATE:
        work->invalidate_rkey = request->key;
        break;
    case CFABRIC_BIND_WINDOW:
        work->bind_mw.mw = request->window;
        work->bind_mw.rkey = request->key;
        work->bind_mw.bind_info.mr = request->region;
        work->bind_mw.bind_info.addr = request->address;
        work->bind_mw.bind_info.length = request->length;
        work->bind_mw.bind_info.mw_access_flags = request->access;
        break;
    default: break;
    }
    if (index > 0) pair->sends[index - 1].next = work;
}

int cfabric_post_sends(struct cfabric_qp *pair, int count) {
    struct ibv_send_wr *bad = NULL;
    int taken = count;
    if (count > 0 && pair->qp->context->ops.post_send(pair->qp, pair->sends, &bad) != 0)
        taken = bad ? (int)(bad - pair->sends) : 0;
    // The next binding of a window names its present key by this.
    for (int i = 0; i < taken; i++)
        if (pair->sends[i].opcode == IBV_WR_BIND_MW) pair->sends[i].bind_mw.mw->rkey = pair->sends[i].bind_mw.rkey;
    return taken;
}

void cfabric_set_receive(struct cfabric_qp *pair, int index, uint64_t id, const void *entries, int count) {
    struct ibv_recv_wr *work = &pair->receives[index];
    work->wr_id = id;
    work->next = NULL;
    work->sg_list = (struct ibv_sge *)(uintptr_t)entries;
    work->num_sge = count;
    if (index > 0) pair->receives[index - 1].next = work;
}

int cfabric_post_receives(struct cfabric_qp *pair, int count) {
    struct ibv_recv_wr *bad = NULL;
    if (count == 0 || pair->qp->context->ops.post_recv(pair->qp, pair->receives, &bad) == 0) return count;
    return bad ? (int)(bad - pair->receives) : 0;
}
