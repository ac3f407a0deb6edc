#define _GNU_SOURCE
#include "CPlatform.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int result(int value) { return value < 0 ? -errno : value; }

static int make_address(const char *host, int port, struct sockaddr_storage *address, socklen_t *length) {
    memset(address, 0, sizeof *address);
    if (port < 0) {
        struct sockaddr_un *local = (struct sockaddr_un *)address;
        if (strlen(host) >= sizeof local->sun_path) return -ENAMETOOLONG;
        local->sun_family = AF_UNIX;
        strcpy(local->sun_path, host);
        *length = sizeof *local;
        return 0;
    }
    // getaddrinfo also takes the short forms of inet_aton ("1.2.3"), which are more likely typing errors.
    struct in_addr version4;
    if (!strchr(host, ':') && inet_pton(AF_INET, host, &version4) != 1) return -EINVAL;
    char service[8];
    snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, service, &hints, &found) != 0) return -EINVAL;
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *length = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

int cplatform_address_family(const char *host) {
    struct sockaddr_storage address;
    socklen_t length;
    int status = make_address(host, 0, &address, &length);
    if (status < 0) return status;
    return address.ss_family == AF_INET ? 4 : 6;
}

static void set_option(int descriptor, int level, int name, int value) {
    setsockopt(descriptor, level, name, &value, sizeof value);
}

// Linux caps the request at net.core.[rw]mem_max; a smaller buffer will do, so errors do not matter.
static void set_buffers(int descriptor, int bytes) {
    if (bytes <= 0) return;
    set_option(descriptor, SOL_SOCKET, SO_SNDBUF, bytes);
    set_option(descriptor, SOL_SOCKET, SO_RCVBUF, bytes);
}

// A bound socket, or an error.
static int make_bound(const char *host, int port, int buffer) {
    struct sockaddr_storage address;
    socklen_t length;
    int status = make_address(host, port, &address, &length);
    if (status < 0) return status;
    int descriptor = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -errno;
    if (address.ss_family != AF_UNIX) set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
    // [::]:port and 0.0.0.0:port are two portals.
    if (address.ss_family == AF_INET6) set_option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    set_buffers(descriptor, buffer);
    if (bind(descriptor, (struct sockaddr *)&address, length) < 0) {
        status = -errno;
        close(descriptor);
        return status;
    }
    return descriptor;
}

int cplatform_listen(const char *host, int port, int backlog, int buffer) {
    int descriptor = make_bound(host, port, buffer);
    if (descriptor >= 0 && listen(descriptor, backlog) < 0) {
        int status = -errno;
        close(descriptor);
        return status;
    }
    return descriptor;
}

int cplatform_try_bind(const char *host, int port) {
    int descriptor = make_bound(host, port, 0);
    return descriptor < 0 ? descriptor : cplatform_close(descriptor);
}

int cplatform_is_local(const char *host) {
    struct sockaddr_storage address, own;
    socklen_t length, own_length = sizeof own;
    int status = make_address(host, 9, &address, &length);
    if (status < 0) return status;
    int descriptor = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    // Nothing is sent: the kernel only chooses the address from which it would send.
    status = connect(descriptor, (struct sockaddr *)&address, length);
    if (status == 0) status = getsockname(descriptor, (struct sockaddr *)&own, &own_length);
    close(descriptor);
    if (status < 0 || own.ss_family != address.ss_family) return 0;
    if (own.ss_family == AF_INET)
        return ((struct sockaddr_in *)&own)->sin_addr.s_addr == ((struct sockaddr_in *)&address)->sin_addr.s_addr;
    return memcmp(&((struct sockaddr_in6 *)&own)->sin6_addr, &((struct sockaddr_in6 *)&address)->sin6_addr,
                  sizeof(struct in6_addr)) == 0;
}

int cplatform_accept(int descriptor) {
    int accepted;
    do {
        accepted = accept4(descriptor, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (accepted < 0 && errno == EINTR);
    return result(accepted);
}

int cplatform_wait_ready(int descriptor, int writing, int timeout) {
    struct pollfd item = {.fd = descriptor, .events = writing ? POLLOUT : POLLIN};
    int count;
    do {
        count = poll(&item, 1, timeout);
    } while (count < 0 && errno == EINTR);
    return result(count);
}

int cplatform_connect(const char *host, int port, int timeout, int buffer) {
    struct sockaddr_storage address;
    socklen_t length;
    int status = make_address(host, port, &address, &length);
    if (status < 0) return status;
    int descriptor = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -errno;
    set_buffers(descriptor, buffer);
    status = result(connect(descriptor, (struct sockaddr *)&address, length));
    if (status == -EINPROGRESS) {
        status = cplatform_wait_ready(descriptor, 1, timeout);
        if (status == 0) status = -ETIMEDOUT;
        if (status > 0) {
            int error = 0;
            socklen_t size = sizeof error;
            getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
            status = -error;
        }
    }
    if (status < 0) {
        close(descriptor);
        return status;
    }
    return descriptor;
}

int cplatform_socketpair(int *first, int *second) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) return -errno;
    *first = pair[0];
    *second = pair[1];
    return 0;
}

void cplatform_set_no_delay(int descriptor) { set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1); }

void cplatform_set_keep_alive(int descriptor, int idle) {
    set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, idle);
}

int cplatform_socket_name(int descriptor, int peer, char *host, size_t capacity, int *port) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    memset(&address, 0, sizeof address);
    int status = peer ? getpeername(descriptor, (struct sockaddr *)&address, &length)
                      : getsockname(descriptor, (struct sockaddr *)&address, &length);
    if (status < 0) return -errno;
    if (address.ss_family == AF_UNIX) {
        const struct sockaddr_un *local = (const struct sockaddr_un *)&address;
        *port = -1;
        snprintf(host, capacity, "%.*s", (int)sizeof local->sun_path, local->sun_path);
        return 0;
    }
    char service[8];
    if (getnameinfo((struct sockaddr *)&address, length, host, capacity, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return -EINVAL;
    *port = 0;
    sscanf(service, "%d", port);
    return 0;
}

ssize_t cplatform_receive(int descriptor, void *first, size_t first_length, void *second, size_t second_length) {
    struct iovec pieces[2] = {{first, first_length}, {second, second_length}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    if (first_length == 0) {
        message.msg_iov = pieces + 1;
        message.msg_iovlen = 1;
    }
    ssize_t count;
    do {
        count = recvmsg(descriptor, &message, MSG_DONTWAIT);
    } while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : count;
}

ssize_t cplatform_send(int descriptor, const struct iovec *pieces, size_t count) {
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = count};
    ssize_t sent;
    do {
        sent = sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

int cplatform_shutdown_write(int descriptor) { return result(shutdown(descriptor, SHUT_WR)); }

int cplatform_close(int descriptor) { return result(close(descriptor)); }

static int get_option(int descriptor, int level, int name) {
    int value = 0;
    socklen_t length = sizeof value;
    return getsockopt(descriptor, level, name, &value, &length) < 0 ? -errno : value;
}

int cplatform_adopt_listener(int descriptor) {
    int type = get_option(descriptor, SOL_SOCKET, SO_TYPE);
    if (type < 0) return type;
    if (type != SOCK_STREAM) return -EPROTOTYPE;
    if (get_option(descriptor, SOL_SOCKET, SO_ACCEPTCONN) != 1) return -EINVAL;
    if (get_option(descriptor, SOL_SOCKET, SO_DOMAIN) == AF_INET6 &&
        get_option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY) != 1)
        return -EAFNOSUPPORT;
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    return result(fcntl(descriptor, F_SETFD, FD_CLOEXEC));
}

int cplatform_notify(const unsigned char *name, size_t length, const unsigned char *text, size_t text_length) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (length == 0 || (name[0] != '/' && name[0] != '@')) return -EINVAL;
    // A path needs room for its zero, an abstract name none.
    if (length > sizeof address.sun_path - (name[0] == '/')) return -ENAMETOOLONG;
    memcpy(address.sun_path, name, length);
    if (name[0] == '@') address.sun_path[0] = 0;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (name[0] == '/'));
    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    struct timeval limit = {.tv_sec = 5};
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    ssize_t sent = sendto(descriptor, text, text_length, MSG_NOSIGNAL, (struct sockaddr *)&address, size);
    int status = sent < 0 ? -errno : 0;
    close(descriptor);
    return status;
}
