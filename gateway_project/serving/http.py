"""Extend uvicorn's HTTP: a client's leaving is noticed without a task, and heads, bodies and connections have
limits. Requests and their answers are cycle.py's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import IntEnum
from typing import Any, ClassVar
from urllib.parse import unquote
from weakref import WeakKeyDictionary

import httptools
import orjson
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from gateway_project.lib import ids
from gateway_project.lib.asgi import BODY
from gateway_project.lib.client_address import client_address
from gateway_project.lib.errors import (
    GatewayError,
    HeadTooLarge,
    InvalidHttp,
    RequestTimeout,
    TooManyConnections,
    Unavailable,
)
from gateway_project.lib.log import scrub_text
from gateway_project.lib.presence import EXTENSION, Presence
from gateway_project.serving.connections import ConnectionLimits, ConnectionTable, Slot, Standing
from gateway_project.serving.cycle import HttpCycle
from gateway_project.serving.websockets import WebSocketProtocol, problem_of_handshake

logger = logging.getLogger("tollgate.http")

_HEALTH = frozenset({b"/healthz", b"/readyz"})
_OF_UPGRADES = frozenset({b"upgrade", b"http2-settings"})
# What chunked encoding may add to a body: extensions and trailers beyond that are an attack.
_WIRE_BYTES_PER_BODY_BYTE = 16

_connections: WeakKeyDictionary[ServerState, ConnectionTable] = WeakKeyDictionary()


class Doing(IntEnum):
    """The activity of a connection, which decides how long it may take."""

    NOTHING = 0  # no request is there
    HEAD = 1  # it is sending a head
    BODY = 2  # it is sending a body
    WAITING = 3  # its request is there, and is being answered
    LATE_BODY = 4  # it has its answer and is still sending the body
    REFUSED = 5  # whatever it sends is dropped


# Plain numbers for what runs for every request.
_NOTHING, _HEAD, _BODY, _WAITING, _LATE_BODY, _REFUSED = map(int, Doing)


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    limits: ClassVar[ConnectionLimits] = ConnectionLimits()
    # Told of every request that is refused here, before any application sees it.
    report: ClassVar[staticmethod[[dict[str, Any]], None]] = staticmethod(lambda _: None)

    _presence: Presence
    _place: Slot | None = None
    _doing = _NOTHING
    _is_retiring = False  # others accept new connections: this one ends after its next answer
    _due = 0.0  # when that has taken too long; the next look sets it
    _received = 0  # bytes since the request's head began
    _received_before = 0  # the same when the look before counted it
    _is_pipelined = (
        False  # the head came with what was before it, so that it is not counted in full
    )
    _body_bytes = 0
    _refusal: GatewayError | None = None  # why the parser was stopped
    _waiting_refusal: GatewayError | None = None  # to be told after the answers that are under way

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._presence = ConnectionPresence(self.flow)
        here = connections_of(self.server_state, self.limits, self.loop)
        self._place = here.enter(self.client[0] if self.client else "")
        self._is_retiring = here.is_retiring
        if self._place is None:
            self._doing = _REFUSED
            transport.abort()
        else:
            here.watch(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._leave()
        self._presence.leave()

    def _leave(self) -> None:
        connections_of(self.server_state, self.limits, self.loop).unwatch(self)
        if self._place is not None:
            self._place.leave()

    # What comes

    def data_received(self, data: bytes) -> None:
        doing = self._doing
        if doing == _REFUSED:
            return
        if doing in (_NOTHING, _WAITING):
            self._begin_head()
        self._received += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._refusal or InvalidHttp("This is not a valid HTTP/1.1 request."))
        else:
            if self._received > self.limits.head_bytes:
                self._check_wire_bytes()

    def _begin_head(self) -> None:
        self._doing = _HEAD
        self._due = 0.0
        self._received = self._body_bytes = 0
        self._is_pipelined = False

    def _check_wire_bytes(self) -> None:
        """Refuse an endless head, and a body with hardly any content in its framing."""
        if self._doing == _HEAD:
            self._refuse(self._head_too_large)
        elif self._doing in (_BODY, _LATE_BODY):
            most = 2 * self.limits.head_bytes + _WIRE_BYTES_PER_BODY_BYTE * self._body_bytes
            if self._received > most:
                self._refuse(InvalidHttp("Chunk extensions or trailers are too large."))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._doing != _HEAD:
            self._begin_head()
            self._is_pipelined = True

    def on_headers_complete(self) -> None:
        if self._received > self.limits.head_bytes or self._is_pipelined:
            self._check_head()
        if self.parser.should_upgrade():
            return  # and an exception of the parser says what comes after the head
        if self._place is not None and self._place.standing is not Standing.SERVED:
            self._check_standing(self._place.standing)
        self._begin_request()
        self.headers = []  # for trailers, which nobody reads
        self._doing = _BODY
        self._due = 0.0

    def _begin_request(self) -> None:
        """Complete the scope and start the application, after those of requests before it."""
        parser, before = self.parser, self.cycle
        version = parser.get_http_version()
        self._complete_scope(version)
        self.cycle = cycle = HttpCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive() and not self._is_retiring,
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _complete_scope(self, version: str) -> None:
        scope, url = self.scope, httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"] = self.root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = self.root_path.encode("ascii") + url.path
        scope["query_string"] = url.query or b""

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        cycle = self.cycle
        if cycle.response_complete or self.parser.should_upgrade():
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        cycle = self.cycle
        if cycle.response_complete:
            self._doing = _NOTHING
            self._due = 0.0
            return
        self._doing = _WAITING
        cycle.more_body = False
        cycle.message_event.set()

    def _check_head(self) -> None:
        """Count the head exactly: what came may be a head with much of a body."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.head_bytes:
            self._stop(self._head_too_large)

    @property
    def _head_too_large(self) -> HeadTooLarge:
        limit = self.limits.head_bytes
        return HeadTooLarge(f"Request line and headers exceed {limit} bytes.")

    def _check_standing(self, standing: Standing) -> None:
        if self.url.partition(b"?")[0] in _HEALTH:
            return
        if standing is Standing.ADDRESS_FULL:
            self._stop(TooManyConnections(self.limits.per_address))
        message = "This server has reached its connection limit; try again."
        self._stop(Unavailable(message, retry_after_seconds=1))

    def _stop(self, error: GatewayError) -> None:
        """Make the parser stop, from within its callbacks."""
        self._refusal = error
        raise error

    # Upgrades

    def _upgrade(self, rest: bytes) -> None:
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(InvalidHttp("CONNECT is not supported: this server is not a proxy."))
        elif not self._asks_for_websocket(method):
            self._go_on_without_upgrade(method, rest)
        elif self._is_answering:
            self._refuse(InvalidHttp("A WebSocket cannot begin while a response is in progress."))
        elif self._place is not None and self._place.standing is not Standing.SERVED:
            self._refuse(
                Unavailable(
                    "This server has reached its WebSocket limit; try again.", retry_after_seconds=1
                )
            )
        elif (problem := problem_of_handshake(self.url, self.headers)) is not None:
            self._refuse(problem)
        else:
            self.handle_websocket_upgrade()

    def _asks_for_websocket(self, method: bytes) -> bool:
        has_body = any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
            for name, value in self.headers
        )
        return method == b"GET" and not has_body and self._should_upgrade()

    def _go_on_without_upgrade(self, method: bytes, rest: bytes) -> None:
        """Read the request as if it had not asked for a protocol we do not speak (h2c).

        A parser that was asked to upgrade takes the body for something else.
        """
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (method, self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                kept = [
                    word for word in value.split(b",") if word.strip().lower() not in _OF_UPGRADES
                ]
                lines.append(b"connection: " + b",".join(kept))
            elif name not in _OF_UPGRADES:
                lines.append(name + b": " + value)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._begin_head()
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, with its slot."""
        scope = self.scope
        scope["method"] = "GET"
        connections_of(self.server_state, self.limits, self.loop).unwatch(self)
        super().handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        if isinstance(protocol, WebSocketProtocol):
            protocol.place = self._place
            protocol.bound(self.url)
        self.parser = None  # type: ignore[assignment]  # which holds this: it is free at once

    # What goes out

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        # These are objects, not dicts as ASGI has them.
        extensions: dict[str, Any] = {EXTENSION: self._presence, BODY: cycle}
        cycle.scope["extensions"] = extensions
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on to the next request. Unlike uvicorn's, it arms no timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._waiting_refusal is not None:
            self._tell(self._waiting_refusal)
        elif self._doing == _WAITING:
            self._doing = _NOTHING
            self._due = 0.0
        elif self._doing == _BODY:
            self._doing = _LATE_BODY
            self._due = 0.0

    # Retirement

    @property
    def is_busy(self) -> bool:
        return self._doing not in (_NOTHING, _REFUSED) or self._is_answering

    def retire(self) -> None:
        self._is_retiring = True
        # One whose answer has begun was told that the connection stays, so that its next request is awaited.
        if self._is_answering and not self.cycle.response_started and not self.pipeline:
            self.cycle.keep_alive = False

    # Time

    def look(self, now: float) -> None:
        """Act on whatever takes too long."""
        doing = self._doing
        if doing == _WAITING or self._waits_for_us:
            self._due = 0.0
        elif not self._due:
            self._due = now + self._seconds_for(doing)
            self._received_before = self._received
        elif now >= self._due:
            self._run_out(doing)

    @property
    def _waits_for_us(self) -> bool:
        """Tell whether the client can do nothing: we do not read, or it waits for leave to send its body."""
        if self.flow.read_paused or self._waiting_refusal is not None:
            return True
        return self._doing == _BODY and self.cycle.waiting_for_100_continue

    def _seconds_for(self, doing: int) -> float:
        limits = self.limits
        if doing == _REFUSED:
            return limits.linger_seconds
        if self._place is not None and self._place.standing is not Standing.SERVED:
            return min(limits.reserve_seconds, limits.head_seconds)
        if doing == _NOTHING:
            return limits.idle_seconds
        return limits.head_seconds if doing == _HEAD else limits.body_window_seconds

    def _run_out(self, doing: int) -> None:
        limits = self.limits
        if doing in (_NOTHING, _LATE_BODY, _REFUSED):
            self.transport.close() if doing == _NOTHING else self.transport.abort()
        elif doing == _HEAD:
            self._refuse(
                RequestTimeout(f"The request head did not arrive within {limits.head_seconds:g} s.")
            )
        elif self._is_too_slow:
            rate = limits.body_bytes_per_second
            self._refuse(
                RequestTimeout(f"The body arrives more slowly than {rate} bytes a second.")
            )
        else:
            self._due = 0.0

    @property
    def _is_too_slow(self) -> bool:
        received = self._received - self._received_before
        limits = self.limits
        return received < limits.body_bytes_per_second * limits.body_window_seconds

    # Refusals

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: GatewayError) -> None:
        """Answer a request that no application will see, after the ones before it, and read no more."""
        is_in_body = self._doing in (_BODY, _LATE_BODY)
        self._doing = _REFUSED
        self._due = 0.0
        if not self._is_answering:
            self._tell(error)
        elif not is_in_body:
            self._waiting_refusal = error
        elif self.pipeline:
            self.pipeline.popleft()  # the newest is the one at fault
            self._waiting_refusal = error
        else:
            self._take_over(error)

    def _take_over(self, error: GatewayError) -> None:
        """Answer in place of an application that is still reading the body."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        if self.cycle.response_started:
            self.transport.close()  # what was begun must not look complete
        else:
            self._tell(error)

    def _tell(self, error: GatewayError) -> None:
        """Write the answer and close.

        What is still coming is read for a moment: closing a socket with unread bytes resets it, and the
        client may never see why.
        """
        self._waiting_refusal = None
        if self.transport.is_closing():
            return
        request_id = ids.request_id()
        body = orjson.dumps(error.body())
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "x-request-id": request_id,
            **error.headers(),
            "connection": "close",
        }
        lines = [b"%s: %s\r\n" % pair for pair in self.server_state.default_headers]
        lines += [f"{name}: {value}\r\n".encode() for name, value in headers.items()]
        head = STATUS_LINE[error.http_status] + b"".join(lines) + b"\r\n"
        self.transport.write(head + body)
        self.transport.write_eof()
        self.flow.resume_reading()
        self._report(error, request_id)

    def _report(self, error: GatewayError, request_id: str) -> None:
        method, _, url = self._request_line.partition(" ")
        headers = self.scope["headers"] if self.scope else []
        self.report(
            {
                "event": "request",
                "request_id": request_id,
                "method": method or None,
                "path": scrub_text(url.partition("?")[0][:200]) or None,
                "client": client_address(self.client, headers, self.limits.trusted),
                "http_status": error.http_status,
                "error": error.code,
            }
        )

    @property
    def _request_line(self) -> str:
        """Return method and URL as far as they have arrived."""
        url: bytes = getattr(self, "url", b"")
        method = self.parser.get_method() if url and self.parser is not None else b""
        return f"{method.decode('latin-1')} {url.decode('latin-1')}"


def connections_of(
    server: ServerState, limits: ConnectionLimits, loop: asyncio.AbstractEventLoop
) -> ConnectionTable:
    """Return the connections of one server, which are counted together."""
    found = _connections.get(server)
    if found is None:
        found = _connections[server] = ConnectionTable(limits, loop)
    return found


def protocol_with(
    limits: ConnectionLimits, report: Callable[[dict[str, Any]], None]
) -> type[HttpProtocol]:
    """Make a connection class with these limits."""
    return type(
        "LimitedHttpProtocol", (HttpProtocol,), {"limits": limits, "report": staticmethod(report)}
    )


class ConnectionPresence(Presence):
    """Presence of the client of a connection."""

    __slots__ = ("_flow",)

    def __init__(self, flow: FlowControl) -> None:
        super().__init__()
        self._flow = flow

    def watch(self, told: Callable[[], None]) -> None:
        if self._flow.read_paused:
            self._flow.resume_reading()  # a large body paused it, and who does not read sees no end
        super().watch(told)
