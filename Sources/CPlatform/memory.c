#define _GNU_SOURCE
#include "CPlatform.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

static void *map(size_t length, int flags) {
    int always = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *address = mmap(NULL, length, PROT_READ | PROT_WRITE, always | flags, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

void *cplatform_map(size_t length) { return map(length, 0); }

void *cplatform_map_aligned(size_t length, size_t alignment) {
    char *start = map(length + alignment, 0);
    if (!start) return NULL;
    size_t before = -(uintptr_t)start & (alignment - 1);
    if (before > 0) munmap(start, before);
    if (before < alignment) munmap(start + before + length, alignment - before);
    return start + before;
}

void *cplatform_map_huge_pages(size_t length) {
    // They come aligned to their size, which is said here: the system's usual one may be 1 GiB. Without MAP_NORESERVE
    // the mapping fails when there are too few of them.
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 21 << MAP_HUGE_SHIFT;
    void *huge = mmap(NULL, length, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (huge == MAP_FAILED) return NULL;
    // What is reserved may still be withheld, by a control group's limit or a memory policy, and then the first use of
    // the memory would end the process. So it is used here, where that is an error (Linux 5.14).
    if (madvise(huge, length, MADV_POPULATE_WRITE) == 0) return huge;
    munmap(huge, length);
    return NULL;
}

int cplatform_advise_huge_pages(void *address, size_t length) {
    return madvise(address, length, MADV_HUGEPAGE) == 0 ? 0 : -errno;
}

int cplatform_give_back(void *address, size_t length) {
    return madvise(address, length, MADV_DONTNEED) == 0 ? 0 : -errno;
}

void cplatform_unmap(void *address, size_t length) {
    munmap(address, length);
}
