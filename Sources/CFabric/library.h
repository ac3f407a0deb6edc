// The functions of both libraries, found at run time.
#ifndef CFABRIC_LIBRARY_H
#define CFABRIC_LIBRARY_H

#include <rdma/rdma_cma.h>

// What is a macro in the headers, and is not wanted here.
#undef ibv_reg_mr
#undef ibv_query_port

/// The functions that are called, with the types of the headers.
struct library {
    // libibverbs
    struct ibv_device **(*get_device_list)(int *);
    void (*free_device_list)(struct ibv_device **);
    int (*query_device)(struct ibv_context *, struct ibv_device_attr *);
    int (*query_port)(struct ibv_context *, uint8_t, struct ibv_port_attr *);
    struct ibv_pd *(*alloc_pd)(struct ibv_context *);
    int (*dealloc_pd)(struct ibv_pd *);
    struct ibv_mr *(*reg_mr)(struct ibv_pd *, void *, size_t, int);
    int (*dereg_mr)(struct ibv_mr *);
    struct ibv_comp_channel *(*create_comp_channel)(struct ibv_context *);
    int (*destroy_comp_channel)(struct ibv_comp_channel *);
    struct ibv_cq *(*create_cq)(struct ibv_context *, int, void *, struct ibv_comp_channel *, int);
    int (*destroy_cq)(struct ibv_cq *);
    int (*get_cq_event)(struct ibv_comp_channel *, struct ibv_cq **, void **);
    void (*ack_cq_events)(struct ibv_cq *, unsigned int);
    int (*modify_qp)(struct ibv_qp *, struct ibv_qp_attr *, int);
    int (*get_async_event)(struct ibv_context *, struct ibv_async_event *);
    void (*ack_async_event)(struct ibv_async_event *);
    // librdmacm
    struct ibv_context **(*get_devices)(int *);
    void (*free_devices)(struct ibv_context **);
    struct rdma_event_channel *(*create_event_channel)(void);
    void (*destroy_event_channel)(struct rdma_event_channel *);
    int (*create_id)(struct rdma_event_channel *, struct rdma_cm_id **, void *, enum rdma_port_space);
    int (*destroy_id)(struct rdma_cm_id *);
    int (*bind_addr)(struct rdma_cm_id *, struct sockaddr *);
    int (*listen)(struct rdma_cm_id *, int);
    int (*resolve_addr)(struct rdma_cm_id *, struct sockaddr *, struct sockaddr *, int);
    int (*resolve_route)(struct rdma_cm_id *, int);
    int (*create_qp)(struct rdma_cm_id *, struct ibv_pd *, struct ibv_qp_init_attr *);
    void (*destroy_qp)(struct rdma_cm_id *);
    int (*connect)(struct rdma_cm_id *, struct rdma_conn_param *);
    int (*accept)(struct rdma_cm_id *, struct rdma_conn_param *);
    int (*reject)(struct rdma_cm_id *, const void *, uint8_t);
    int (*notify)(struct rdma_cm_id *, enum ibv_event_type);
    int (*disconnect)(struct rdma_cm_id *);
    int (*get_cm_event)(struct rdma_event_channel *, struct rdma_cm_event **);
    int (*ack_cm_event)(struct rdma_cm_event *);
    int (*migrate_id)(struct rdma_cm_id *, struct rdma_event_channel *);
    int (*set_option)(struct rdma_cm_id *, int, int, void *, size_t);
    __be16 (*get_src_port)(struct rdma_cm_id *);
};

extern struct library cfabric_library;

/// A protection domain: what holds its device open, and its descriptors.
struct cfabric_domain {
    struct ibv_context **devices;
    struct ibv_context *context;
    struct ibv_pd *pd;
    int epoll;
    int event;
};

/// A queue pair, with room for a batch of requests.
struct cfabric_qp {
    struct rdma_cm_id *id;
    struct ibv_qp *qp;
    struct cfabric_domain *domain;
    uint64_t context;
    struct ibv_send_wr sends[64];
    struct ibv_recv_wr receives[64];
};

/// Has reads of a descriptor not wait; 0 or the negated errno.
int cfabric_set_nonblocking(int descriptor);

#endif
