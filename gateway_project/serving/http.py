"""uvicorn's HTTP: an answer's head and body are one write, and a client's leaving is told without a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway_project.lib.presence import EXTENSION, Presence

_CONTINUE = b"HTTP/1.1 100 "


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    _presence: Presence

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._presence = ConnectionPresence(self.flow)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._presence.leave()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        scope = cycle.scope
        scope["extensions"] = {EXTENSION: self._presence}  # type: ignore[dict-item]  # not a dict, as ASGI has it
        if scope["method"] != "HEAD":  # an answer to it is a head alone
            cycle.transport = HeldHead(cycle)  # type: ignore[assignment]  # as much of one as a cycle uses
        super()._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # which holds this: it is free at once


class ConnectionPresence(Presence):
    """Of whoever is at the other end of a connection."""

    __slots__ = ("_flow",)

    def __init__(self, flow: FlowControl) -> None:
        super().__init__()
        self._flow = flow

    def watch(self, told: Callable[[], None]) -> None:
        self._flow.resume_reading()  # a large body paused it, and who does not read sees no end
        super().watch(told)


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
