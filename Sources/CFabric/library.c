#define _GNU_SOURCE
#include "library.h"
#include "CFabric.h"

#include <dlfcn.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct library cfabric_library;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int loaded;

struct symbol {
    const char *name;
    void *place;
};

static int find(void *handle, const struct symbol *symbols, size_t count) {
    for (size_t i = 0; i < count; i++) {
        void *found = dlsym(handle, symbols[i].name);
        if (!found) return 0;
        // A pointer to a function has the size of one to data on Linux (dlsym(3)).
        memcpy(symbols[i].place, &found, sizeof found);
    }
    return 1;
}

#define VERBS(function) {"ibv_" #function, &cfabric_library.function}
#define RDMACM(function) {"rdma_" #function, &cfabric_library.function}

static const char *load(void) {
    const struct symbol verbs[] = {
        VERBS(get_device_list), VERBS(free_device_list), VERBS(query_device), VERBS(query_port), VERBS(alloc_pd),
        VERBS(dealloc_pd), VERBS(reg_mr), VERBS(dereg_mr), VERBS(create_comp_channel), VERBS(destroy_comp_channel),
        VERBS(create_cq), VERBS(destroy_cq), VERBS(get_cq_event), VERBS(ack_cq_events), VERBS(modify_qp),
        VERBS(get_async_event), VERBS(ack_async_event),
    };
    const struct symbol rdmacm[] = {
        RDMACM(get_devices), RDMACM(free_devices), RDMACM(create_event_channel), RDMACM(destroy_event_channel),
        RDMACM(create_id), RDMACM(destroy_id), RDMACM(bind_addr), RDMACM(listen), RDMACM(resolve_addr),
        RDMACM(resolve_route), RDMACM(create_qp), RDMACM(destroy_qp), RDMACM(connect), RDMACM(accept), RDMACM(reject),
        RDMACM(notify), RDMACM(disconnect), RDMACM(get_cm_event), RDMACM(ack_cm_event), RDMACM(migrate_id),
        RDMACM(set_option), RDMACM(get_src_port),
    };
    // They stay open: threads of theirs may run as long as the process.
    void *handle = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!handle || !find(handle, verbs, sizeof verbs / sizeof *verbs)) return "libibverbs.so.1";
    handle = dlopen("librdmacm.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!handle || !find(handle, rdmacm, sizeof rdmacm / sizeof *rdmacm)) return "librdmacm.so.1";
    return NULL;
}

const char *cfabric_load(void) {
    pthread_mutex_lock(&mutex);
    const char *missing = loaded ? NULL : load();
    loaded = !missing;
    pthread_mutex_unlock(&mutex);
    return missing;
}

int cfabric_check(void) {
    int count = 0;
    struct ibv_device **list = cfabric_library.get_device_list(&count);
    if (list) cfabric_library.free_device_list(list);
    if (!list || count == 0) return -ENODEV;
    // librdmacm writes to standard error when it is missing.
    int descriptor = open("/dev/infiniband/rdma_cm", O_RDWR | O_CLOEXEC);
    if (descriptor < 0) return -errno;
    close(descriptor);
    return 0;
}

uint64_t cfabric_lock_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
    return limit.rlim_cur;
}

int cfabric_set_nonblocking(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    return 0;
}

// ---- devices

static int transport(struct ibv_context *context) {
    if (context->device->transport_type == IBV_TRANSPORT_IWARP) return 3;
    struct ibv_port_attr port;
    memset(&port, 0, sizeof port);
    if (cfabric_library.query_port(context, 1, &port) == 0 && port.link_layer == IBV_LINK_LAYER_ETHERNET) return 2;
    return 1;
}

static uint32_t message_length(struct ibv_context *context) {
    struct ibv_port_attr port;
    memset(&port, 0, sizeof port);
    if (cfabric_library.query_port(context, 1, &port) != 0 || port.max_msg_sz == 0) return 1 << 20;
    return port.max_msg_sz;
}

int cfabric_devices(struct cfabric_device *devices) {
    int count = 0;
    struct ibv_context **list = cfabric_library.get_devices(&count);
    if (!list) return -(errno ? errno : ENODEV);
    int filled = 0;
    for (int i = 0; i < count && filled < CFABRIC_DEVICES_MAX; i++) {
        struct ibv_device_attr attributes;
        memset(&attributes, 0, sizeof attributes);
        if (cfabric_library.query_device(list[i], &attributes) != 0) continue;
        struct cfabric_device *device = &devices[filled++];
        memset(device, 0, sizeof *device);
        strncpy(device->name, list[i]->device->name, sizeof device->name - 1);
        device->guid = be64toh(attributes.node_guid);
        device->transport = transport(list[i]);
        device->work_requests = attributes.max_qp_wr;
        device->entries = attributes.max_sge;
        device->read_entries = attributes.max_sge_rd > 0 ? attributes.max_sge_rd : attributes.max_sge;
        if (device->transport == 3) device->read_entries = 1;
        device->completions = attributes.max_cqe;
        device->responder_resources = attributes.max_qp_rd_atom;
        device->initiator_depth = attributes.max_qp_init_rd_atom;
        device->queue_pairs = attributes.max_qp;
        device->regions = attributes.max_mr;
        device->message_length = message_length(list[i]);
        device->has_invalidation = (attributes.device_cap_flags & IBV_DEVICE_MEM_MGT_EXTENSIONS) != 0;
    }
    cfabric_library.free_devices(list);
    return filled;
}
