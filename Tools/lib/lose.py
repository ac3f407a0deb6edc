#!/usr/bin/env python3
"""lose.py disk IMAGE | tape PARTITION0.DATA

Marks a medium that no daemon has open as one whose host has lost written data (ENOSPC, 2023-11-14T22:13:20Z), as the
daemon does it: an image by an extended attribute, a cartridge in its superblocks. Media.docc describes both. The exit
status is 2 when the file system keeps no extended attributes.
"""

import errno
import os
import struct
import sys

TIME = 1_700_000_000


def crc32c(data):
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def lose_disk(path):
    try:
        os.setxattr(path, "user.carousel.loss", struct.pack("=iiq", errno.ENOSPC, 0, TIME))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        sys.exit(2)


def lose_tape(path):
    with open(path, "r+b") as file:
        for copy in range(2):
            file.seek(copy * 4096)
            page = bytearray(file.read(4096))
            struct.pack_into(">H", page, 50, errno.ENOSPC)
            # Nothing but what the last epoch found there was durable.
            last = struct.unpack_from(">I", page, 52)[0] - 1
            page[120:128] = page[128 + 20 * last + 4:128 + 20 * last + 12]
            struct.pack_into(">Q", page, 4048, TIME)
            struct.pack_into(">I", page, 4092, crc32c(page[:4092]))
            file.seek(copy * 4096)
            file.write(page)


if __name__ == "__main__":
    {"disk": lose_disk, "tape": lose_tape}[sys.argv[1]](sys.argv[2])
