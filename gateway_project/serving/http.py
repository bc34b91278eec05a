"""uvicorn's HTTP, with head and body of an answer in one write."""

from __future__ import annotations

import asyncio

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_CONTINUE = b"HTTP/1.1 100 "


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if cycle.scope["method"] != "HEAD":  # an answer to it is a head alone
            cycle.transport = HeldHead(cycle)  # type: ignore[assignment]  # as much of one as a cycle uses
        super()._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # which holds this: it is free at once


class HeldHead:
    """A transport that keeps an answer's head until its body begins. ASGI asks for that, uvicorn writes it at
    once, and a write to a socket wakes whoever reads it. Gives way to the connection's own transport as soon
    as it has done so."""

    __slots__ = ("_cycle", "_head", "_transport")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._transport: asyncio.Transport = cycle.transport
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        if self._head is not None:
            self._cycle.transport = self._transport
            self._transport.writelines((self._head, data))
        elif data.startswith(_CONTINUE):
            self._transport.write(data)
        else:
            self._head = data

    def close(self) -> None:
        """Without a body: what there is goes out."""
        if self._head is not None:
            self.write(b"")
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
