// libzstd: compression of the extents of disk images, one frame each.
#include <zstd.h>
