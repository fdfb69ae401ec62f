"""A relay on loopback that adds a delay to each round trip: python -m benchmarks.relay PORT SECONDS."""

from __future__ import annotations

import asyncio
import sys

_READ_BYTES = 1 << 18
# So much of a connection is on its way at most: what a link of 10 Gbit/s holds in 20 ms.
_IN_FLIGHT_BYTES = 25_000_000


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Hand on what comes, each piece so much later than it came."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT_BYTES // _READ_BYTES)

    async def read() -> None:
        while piece := await reader.read(_READ_BYTES):
            await pieces.put((loop.time() + delay, piece))
        await pieces.put((loop.time() + delay, b""))

    reading = asyncio.create_task(read())
    try:
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(due - loop.time())
            if not piece:
                break
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        pass
    finally:
        reading.cancel()


async def _connect(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, delay: float
) -> None:
    await asyncio.sleep(2 * delay)  # the round trip in which a connection is made
    there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port, limit=_READ_BYTES)
    await asyncio.gather(_carry(reader, there_writer, delay), _carry(there_reader, writer, delay))
    writer.close()
    there_writer.close()


async def _serve(port: int, delay: float) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: _connect(reader, writer, port, delay),
        "127.0.0.1",
        0,
        limit=_READ_BYTES,
        backlog=2048,
    )
    print(f"relay on {server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2]) / 2))
