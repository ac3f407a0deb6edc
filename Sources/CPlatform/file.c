#define _GNU_SOURCE
#include "CPlatform.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

static int result(int value) { return value < 0 ? -errno : value; }

// Repeats a call that a signal interrupted.
#define RETRY(call)                        \
    ({                                     \
        __typeof__(call) value_;           \
        do {                               \
            value_ = (call);               \
        } while (value_ < 0 && errno == EINTR); \
        value_;                            \
    })

int cplatform_open(const char *path, int options, unsigned permissions) {
    int flags = O_CLOEXEC | (options & CPLATFORM_OPEN_WRITE ? O_RDWR : O_RDONLY);
    if (options & CPLATFORM_OPEN_CREATE) flags |= O_CREAT;
    if (options & CPLATFORM_OPEN_EXCLUSIVE) flags |= O_EXCL;
    if (options & CPLATFORM_OPEN_TRUNCATE) flags |= O_TRUNC;
    if (options & CPLATFORM_OPEN_DATA_SYNC) flags |= O_DSYNC;
    if (options & CPLATFORM_OPEN_DIRECTORY) flags |= O_DIRECTORY;
    if (options & CPLATFORM_OPEN_NO_FOLLOW) flags |= O_NOFOLLOW;
    if (options & CPLATFORM_OPEN_NON_BLOCKING) flags |= O_NONBLOCK;
    if (options & CPLATFORM_OPEN_UNNAMED) flags |= O_TMPFILE;
    return result(RETRY(open(path, flags, permissions)));
}

int cplatform_rename_new(const char *path, const char *name) {
    return result(RETRY(renameat2(AT_FDCWD, path, AT_FDCWD, name, RENAME_NOREPLACE)));
}

int cplatform_open_directly(int descriptor) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    return result(RETRY(open(path, O_RDWR | O_CLOEXEC | O_DIRECT)));
}

// The size of a block device, or the negated errno. To open one with O_NONBLOCK waits for no medium.
static int64_t device_size(const char *path) {
    int descriptor = RETRY(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (descriptor < 0) return -errno;
    int64_t size = cplatform_size(descriptor);
    close(descriptor);
    return size;
}

int cplatform_status(const char *path, int follows, struct cplatform_file_status *status) {
    struct stat found;
    if ((follows ? stat(path, &found) : lstat(path, &found)) < 0) return -errno;
    int64_t modified;
    if (__builtin_mul_overflow((int64_t)found.st_mtim.tv_sec, (int64_t)1000000000, &modified) ||
        __builtin_add_overflow(modified, (int64_t)found.st_mtim.tv_nsec, &modified))
        modified = found.st_mtim.tv_sec < 0 ? INT64_MIN : INT64_MAX;
    *status = (struct cplatform_file_status){
        found.st_dev, found.st_ino, modified, found.st_size, found.st_nlink, found.st_uid, found.st_mode};
    if (!S_ISBLK(found.st_mode)) return 0;
    // However many nodes there are for it, it is one device; no file has the number 0.
    status->device = found.st_rdev;
    status->inode = 0;
    if (!follows) return 0;
    int64_t size = device_size(path);
    if (size < 0) return (int)size;
    status->length = size;
    return 0;
}

ssize_t cplatform_read_cached(int descriptor, void *buffer, size_t length, int64_t offset) {
    struct iovec piece = {buffer, length};
    ssize_t count = RETRY(preadv2(descriptor, &piece, 1, offset, RWF_NOWAIT));
    return count < 0 ? -errno : count;
}

ssize_t cplatform_read(int descriptor, void *buffer, size_t length, int64_t offset) {
    ssize_t count = RETRY(pread(descriptor, buffer, length, offset));
    return count < 0 ? -errno : count;
}

ssize_t cplatform_read_pieces(
    int descriptor, void *first, size_t first_length, void *second, size_t second_length, int64_t offset, int cached) {
    struct iovec pieces[2] = {{first, first_length}, {second, second_length}};
    ssize_t count = RETRY(preadv2(descriptor, pieces, 2, offset, cached ? RWF_NOWAIT : 0));
    return count < 0 ? -errno : count;
}

ssize_t cplatform_write(
    int descriptor, const void *first, size_t first_length, const void *second, size_t second_length, int64_t offset) {
    struct iovec pieces[2] = {{(void *)first, first_length}, {(void *)second, second_length}};
    ssize_t count = first_length == 0    ? RETRY(pwrite(descriptor, second, second_length, offset))
                    : second_length == 0 ? RETRY(pwrite(descriptor, first, first_length, offset))
                                         : RETRY(pwritev(descriptor, pieces, 2, offset));
    return count < 0 ? -errno : count;
}

int cplatform_synchronize_data(int descriptor) { return result(RETRY(fdatasync(descriptor))); }

int cplatform_synchronize(int descriptor) { return result(RETRY(fsync(descriptor))); }

int cplatform_drop_cached(int descriptor, int64_t offset) {
    return -posix_fadvise(descriptor, offset & ~(int64_t)4095, 0, POSIX_FADV_DONTNEED);
}

int cplatform_punch_hole(int descriptor, int64_t offset, int64_t length) {
    return result(RETRY(fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)));
}

int cplatform_zero_range(int descriptor, int64_t offset, int64_t length) {
    return result(RETRY(fallocate(descriptor, FALLOC_FL_ZERO_RANGE, offset, length)));
}

int cplatform_allocate(int descriptor, int64_t offset, int64_t length) {
    return result(RETRY(fallocate(descriptor, 0, offset, length)));
}

int cplatform_truncate(int descriptor, int64_t length) { return result(RETRY(ftruncate(descriptor, length))); }

static int64_t seek(int descriptor, int64_t offset, int whence) {
    off_t found = lseek(descriptor, offset, whence);
    return found < 0 ? -errno : found;
}

// lseek, unlike fstat, tells the size of block devices too; positions are not used for anything else here.
int64_t cplatform_size(int descriptor) { return seek(descriptor, 0, SEEK_END); }

// How many extents one question asks for.
enum { EXTENTS = 64 };

struct extent_map {
    struct fiemap head;
    struct fiemap_extent extents[EXTENTS];
};

// The extents from `offset` on: how many, or the negated errno.
static int map_extents(int descriptor, int64_t offset, struct extent_map *map) {
    memset(&map->head, 0, sizeof map->head);
    map->head.fm_start = (uint64_t)offset;
    map->head.fm_length = FIEMAP_MAX_OFFSET - (uint64_t)offset;
    map->head.fm_extent_count = EXTENTS;
    if (RETRY(ioctl(descriptor, FS_IOC_FIEMAP, map)) < 0) return -errno;
    return (int)map->head.fm_mapped_extents;
}

int64_t cplatform_next_allocated(int descriptor, int64_t offset) {
    struct extent_map map;
    int count = map_extents(descriptor, offset, &map);
    if (count < 0) return seek(descriptor, offset, SEEK_DATA);
    if (count == 0) return -ENXIO;
    int64_t start = (int64_t)map.extents[0].fe_logical;
    return start > offset ? start : offset;
}

int64_t cplatform_next_unallocated(int descriptor, int64_t offset) {
    int64_t size = cplatform_size(descriptor);
    if (size < 0) return size;
    if (offset > size) return -ENXIO;
    while (offset < size) {
        struct extent_map map;
        int count = map_extents(descriptor, offset, &map);
        if (count < 0) return seek(descriptor, offset, SEEK_HOLE);
        for (int index = 0; index < count; index++) {
            if ((int64_t)map.extents[index].fe_logical > offset) return offset;
            offset = (int64_t)(map.extents[index].fe_logical + map.extents[index].fe_length);
        }
        if (count < EXTENTS) break;
    }
    return offset < size ? offset : size;
}

// Whether an attribute could not be read because there is none, or the file system keeps none (block devices say the
// first too). Whatever else keeps it from being read, there may be one: the answer must not be that all is well.
static int is_absent(int error) { return error == ENODATA || error == EOPNOTSUPP; }

static const char loss_attribute[] = "user.carousel.loss";

struct loss_note {
    int32_t error_number;
    int32_t reserved;
    int64_t seconds;
};

int cplatform_noted_loss(int descriptor, int64_t *seconds) {
    struct loss_note note = {0};
    *seconds = -1;
    ssize_t length = fgetxattr(descriptor, loss_attribute, &note, sizeof note);
    if (length < 0 && is_absent(errno)) return 0;
    if (length < 0 && errno != ERANGE) return errno;
    // An attribute that nobody of us has written is a loss too: somebody wanted to say so.
    if (length < (ssize_t)sizeof note.error_number || note.error_number <= 0) return EIO;
    if (length == sizeof note) *seconds = note.seconds;
    return note.error_number;
}

int cplatform_note_loss(int descriptor, int error_number, int64_t seconds) {
    struct loss_note note = {error_number, 0, seconds};
    int status = error_number != 0 ? result(fsetxattr(descriptor, loss_attribute, &note, sizeof note, 0))
                                   : result(fremovexattr(descriptor, loss_attribute));
    if (status < 0 && (error_number != 0 || status != -ENODATA)) {
        // Where there is nothing to remove, it does not matter that nothing can be removed (block devices, EPERM).
        int64_t ignored;
        return error_number == 0 && cplatform_noted_loss(descriptor, &ignored) == 0 ? 0 : status;
    }
    // A failure to write data out, which is told once, is no failure of the attribute: so a second try decides.
    if (fsync(descriptor) == 0) return 0;
    return result(fsync(descriptor));
}

ssize_t cplatform_get_attribute(int descriptor, const char *name, void *bytes, size_t capacity) {
    ssize_t length = fgetxattr(descriptor, name, bytes, capacity);
    if (length >= 0) return length;
    return is_absent(errno) ? -ENODATA : -errno;
}

int cplatform_set_attribute(int descriptor, const char *name, const void *bytes, size_t length) {
    int status =
        bytes != NULL ? result(fsetxattr(descriptor, name, bytes, length, 0)) : result(fremovexattr(descriptor, name));
    if (bytes == NULL && (status == -ENODATA || status == -EOPNOTSUPP || status == -EPERM)) {
        // Where there is nothing to remove, it does not matter that nothing can be removed (block devices, EPERM).
        char ignored;
        ssize_t present = fgetxattr(descriptor, name, &ignored, 0);
        return present < 0 && is_absent(errno) ? 0 : status;
    }
    return status;
}

void cplatform_drop_cache(int descriptor) { (void)posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED); }

int64_t cplatform_allocated_size(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) < 0 ? -errno : (int64_t)status.st_blocks * 512;
}

int cplatform_is_block_device(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) < 0 ? -errno : S_ISBLK(status.st_mode);
}

int cplatform_is_in_memory(int descriptor) {
    struct statfs status;
    if (fstatfs(descriptor, &status) < 0) return -errno;
    return status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC;
}

int64_t cplatform_free_space(int descriptor) {
    struct statvfs status;
    return fstatvfs(descriptor, &status) < 0 ? -errno : (int64_t)(status.f_bavail * status.f_frsize);
}

int cplatform_lock(int descriptor, int exclusive) {
    struct flock lock = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};
    int status = result(fcntl(descriptor, F_OFD_SETLK, &lock));
    return status == -EACCES ? -EAGAIN : status;
}

int cplatform_unlock(int descriptor) {
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    return result(fcntl(descriptor, F_OFD_SETLK, &lock));
}
