#define _GNU_SOURCE
#include "CPlatform.h"

#include <sys/mman.h>

void *cplatform_map(size_t length) {
    void *address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

void cplatform_unmap(void *address, size_t length) {
    munmap(address, length);
}
