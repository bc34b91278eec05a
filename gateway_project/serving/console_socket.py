"""Serve the console's socket: pages that are open say what they watch, and get it when it has changed.

    page     {"watch": "in-flight", "as": "1", "query": "tenant=acme"}    {"forget": "1"}
    console  {"as": "1", "data": {…}}    {"as": "1", "ended": true}

The session is read again before each push. Once it has ended, or its person may do nothing any more, the
socket closes with 4401 and nothing else is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson
from channels.consumer import AsyncConsumer
from django.conf import settings
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import Error
from django.http import Http404, HttpRequest

from gateway_project.lib import aio, clock, ids
from gateway_project.lib.asgi import Message, Receive, Scope, Send, header
from gateway_project.lib.errors import Draining, GatewayError, NotFound, RateLimited
from gateway_project.lib.errors import PermissionDenied as Forbidden
from gateway_project.lib.hosts import AllowedHosts
from gateway_project.lib.json import Json
from responses_api import app_state
from responses_api.services import Services
from responses_api.websocket.handshake import refuse
from tenants.console.language import spoken_to
from tenants.console.live import Topic, topic_of, with_database
from tenants.sign_in import by_session

logger = logging.getLogger("tollgate.console")

MAX_SOCKETS = 10  # of one person in one worker: a socket is one open page
MAX_WATCHES = 8
MAX_FRAME = 2048
MAX_NAME = 40
TICK_SECONDS = 1.0
# How often a session is looked at while nothing is due.
LOOK_SECONDS = 10.0
# After each look, however fast the page says what it watches: every frame would be questions to the database.
PAUSE_SECONDS = 0.2
STALL_SECONDS = 10.0

POLICY, TOO_BIG, FAILED, RESTART, SIGNED_OUT = 1008, 1009, 1011, 1012, 4401

_open: Counter[int] = Counter()


def open_count() -> int:
    """Return how many pages are open in this process."""
    return _open.total()


@dataclass(slots=True)
class WatchedTopic:
    """A topic that a page watches, and what it was told last."""

    topic: Topic
    query: str
    due_at: float = float("-inf")
    told: bytes = b""


class ConsoleSocket(AsyncConsumer):
    """The consumer of `/console/ws/`."""

    async def __call__(  # type: ignore[override]  # plain ASGI instead of channels' event types
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        await ConsoleConnection(scope, receive, send).serve()


class ConsoleConnection:
    """One open page."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._services: Services = app_state.of(scope).services
        self._session_id = ""
        self._watches: dict[str, WatchedTopic] = {}
        self._wake = asyncio.Event()
        self._looked_at = float("-inf")
        self._is_closed = False

    async def serve(self) -> None:
        await self._receive()
        try:
            person = await self._admit()
        except GatewayError as error:
            await refuse(self._scope, self._send, error, ids.request_id())
            return
        _open[person] += 1
        sockets, pushing = self._services.registry.sockets, None
        try:
            await self._send({"type": "websocket.accept"})
            sockets.add(self)
            pushing = aio.hold(self._push_on(), "console-push")
            await self._read_on()
        except OSError:
            pass  # the page was closed meanwhile
        finally:
            self._is_closed = True
            sockets.remove(self)
            await aio.end(pushing)
            _open[person] -= 1
            if not _open[person]:
                del _open[person]

    # Admit

    async def _admit(self) -> int:
        """Return the person whose page it is. Raise GatewayError."""
        services = self._services
        if services.registry.draining:
            raise Draining
        _check_place(self._scope)
        await services.doorkeeper.let_in(services.doorkeeper.address_of(self._scope))
        self._session_id = by_session.session_id_of(self._scope)
        found = await with_database(self._person)
        if found is None:
            raise Forbidden("Sign in to the console first.")
        person = int(found.user.pk or 0)
        if _open[person] >= MAX_SOCKETS:
            raise RateLimited("Too many pages of the console are open.", 10)
        return person

    def _person(self, query: str = "") -> HttpRequest | None:
        return by_session.request_of(self._session_id, query=query, scope=self._scope)

    # What the page says

    async def _read_on(self) -> None:
        while not self._is_closed:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            if (code := self._take(message)) is not None:
                await self._close(code)
                return

    def _take(self, message: Message) -> int | None:
        """Do what a frame asks for; return the code to close with if it is none of ours."""
        text = message.get("text")
        if text is None:
            return POLICY
        if len(text) > MAX_FRAME:
            return TOO_BIG
        try:
            said = orjson.loads(text)
        except orjson.JSONDecodeError:
            return POLICY
        if not isinstance(said, dict):
            return POLICY
        if "forget" in said:
            self._watches.pop(str(said["forget"])[:MAX_NAME], None)
            return None
        return self._watch(said)

    def _watch(self, said: Json) -> int | None:
        topic, name, query = topic_of(said.get("watch")), said.get("as"), said.get("query", "")
        if topic is None or not isinstance(name, str) or not isinstance(query, str):
            return POLICY
        if len(name) > MAX_NAME or (
            name not in self._watches and len(self._watches) >= MAX_WATCHES
        ):
            return POLICY
        self._watches[name] = WatchedTopic(topic, query)
        self._wake.set()
        return None

    # What it is told

    async def _push_on(self) -> None:
        try:
            while not self._is_closed:
                await self._push_due()
                await asyncio.sleep(PAUSE_SECONDS)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(aio.seconds_to_tick(TICK_SECONDS)):
                        await self._wake.wait()
                self._wake.clear()
        except OSError:
            self._is_closed = True
        except Exception:
            await self._close(FAILED)  # a page that is told nothing any more has to know it
            raise

    async def _push_due(self) -> None:
        now = clock.monotonic()
        due = {name: each for name, each in self._watches.items() if each.due_at <= now}
        if not due and now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            found = await with_database(self._ask, due)
        except Error:
            return  # the database is away: nothing is told while nobody knows who may be told what
        if found is None:
            await self._close(SIGNED_OUT)
            return
        for name, (request, now_known) in found.items():
            watch = due[name]
            watch.due_at = now + watch.topic.every_seconds - TICK_SECONDS / 2  # with a tick
            ask_later = watch.topic.ask_later
            answer = now_known
            if ask_later is not None and now_known is not None:
                answer = await _answer(ask_later, request)
            await self._tell(name, watch, answer)

    def _ask(
        self, due: dict[str, WatchedTopic]
    ) -> dict[str, tuple[HttpRequest, Json | None]] | None:
        """Return the answers of topics that need the database alone, each with its request; None instead of
        an answer if the person may not have it, and instead of all if the session has ended.
        """
        found: dict[str, tuple[HttpRequest, Json | None]] = {}
        person = self._person()
        if person is None:
            return None
        for name, watch in due.items():
            try:
                request = self._person(watch.query)
            except SuspiciousOperation:  # more parameters than a form may have
                found[name] = person, None
                continue
            if request is None:
                return None
            ask = watch.topic.ask
            found[name] = request, {} if ask is None else _answer_now(ask, request)
        return found

    async def _tell(self, name: str, watch: WatchedTopic, answer: Json | None) -> None:
        if self._watches.get(name) is not watch or self._is_closed:
            return
        if answer is None:
            del self._watches[name]
            await self._send_text({"as": name, "ended": True})
            return
        encoded = orjson.dumps(answer)
        if encoded != watch.told:
            watch.told = encoded
            await self._send_text({"as": name, "data": orjson.Fragment(encoded)})

    async def _send_text(self, said: Json) -> None:
        """Send a frame; a page that takes nothing is given up."""
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._send({"type": "websocket.send", "text": orjson.dumps(said).decode()})
        except TimeoutError:
            await self._close(POLICY)

    # End

    def drain(self) -> None:
        aio.hold(self._close(RESTART), "console-drain")

    async def is_allowed(self) -> bool | None:
        """Look at the session soon: something about who may do what has changed."""
        self._looked_at = float("-inf")
        self._wake.set()
        return True

    async def _close(self, code: int) -> None:
        if not self._is_closed:
            self._is_closed = True
            with contextlib.suppress(OSError):
                await self._send({"type": "websocket.close", "code": code})


def _answer_now(ask: Callable[[HttpRequest], Json], request: HttpRequest) -> Json | None:
    try:
        with spoken_to(request):
            return ask(request)
    except (Http404, PermissionDenied):
        return None


async def _answer(ask: Callable[[HttpRequest], Any], request: HttpRequest) -> Json | None:
    try:
        with spoken_to(request):
            found: Json = await ask(request)
    except (Http404, PermissionDenied):
        return None
    return found


def _check_place(scope: Scope) -> None:
    """Raise GatewayError unless the handshake is for the console's host, and comes from a page of it."""
    host = header(scope["headers"], b"host")
    if settings.CONSOLE_HOSTS and not AllowedHosts(settings.CONSOLE_HOSTS).allows(host):
        raise NotFound("There is no WebSocket endpoint at this address.")
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    if len(origins) != 1 or not _is_same(origins[0].decode("latin-1"), host.decode("latin-1")):
        raise Forbidden("Only pages of the console may open this socket.")


def _is_same(origin: str, host: str) -> bool:
    """Tell whether a page of this origin is one of ours. Behind a proxy the gateway does not see TLS: that it
    is there is known from the setting of secure cookies.
    """
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    schemes = {"https"} if settings.SECURE_COOKIES else {"http", "https"}
    return parts.scheme in schemes and parts.netloc.lower() == host.lower()
