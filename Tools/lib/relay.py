"""Passes connections to a TCP port of the loopback interface on to a Unix socket: relay.py PORT PATH.

For programs that cannot speak to a Unix socket. Standard library only.
"""

import asyncio
import sys

port, path = int(sys.argv[1]), sys.argv[2]


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        if writer.can_write_eof():
            try:
                writer.write_eof()
            except OSError:
                pass


async def serve(reader, writer):
    try:
        upstream, downstream = await asyncio.open_unix_connection(path)
    except OSError:
        writer.close()
        return
    await asyncio.gather(copy(reader, downstream), copy(upstream, writer))
    for end in (writer, downstream):
        end.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


asyncio.run(main())
