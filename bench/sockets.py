"""Open WebSockets to the gateway: idle ones, and one that streams."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import orjson
from websockets.asyncio.client import ClientConnection, connect

from bench.calls import Cell
from bench.load import LoadFailed
from bench.stage import Server

_END = b'{"type":"response.completed"'
_ENDS = (_END, b'{"type":"response.failed"', b'{"type":"response.incomplete"', b'{"type":"error"')


@contextlib.asynccontextmanager
async def held(server: Server, count: int) -> AsyncIterator[list[ClientConnection]]:
    """Hold this many connections open until the block ends."""
    async with contextlib.AsyncExitStack() as stack:
        headers = {"authorization": f"Bearer {server.key}"}
        url = f"ws://127.0.0.1:{server.port}/v1/responses"
        yield [
            await stack.enter_async_context(
                connect(url, additional_headers=headers, compression=None, max_size=None)
            )
            for _ in range(count)
        ]


async def turn(connection: ClientConnection, cell: Cell, said: str) -> int:
    """Have a response made and return how many frames it took. Raise LoadFailed."""
    frame = {
        "type": "response.create",
        "model": f"sandbox-{cell.upstream}",
        "input": said,
        "store": False,
    }
    await connection.send(orjson.dumps(frame).decode())
    frames, last = 1, await connection.recv(decode=False)
    while not last.startswith(_ENDS):
        frames, last = frames + 1, await connection.recv(decode=False)
    if not last.startswith(_END):
        raise LoadFailed(f"a turn ended with {last[:200]!r}")
    return frames
