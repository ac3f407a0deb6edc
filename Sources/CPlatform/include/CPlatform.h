// CPlatform: the Linux calls that Swift's Glibc module lacks, as plain functions with a prefix.
//
// Only what cannot be reached from Swift belongs here. Functions return what the system call returns; on failure
// that is the negated errno, so that nothing can run between the call and the reading of errno.
#ifndef CPLATFORM_H
#define CPLATFORM_H

#include <stddef.h>
#include <stdint.h>

/// Maps `length` bytes of fresh, private, zero-filled memory; NULL when there is none.
void *_Nullable cplatform_map(size_t length);
/// Unmaps what cplatform_map gave.
void cplatform_unmap(void *_Nonnull address, size_t length);

#endif
