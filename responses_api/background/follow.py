"""Send a client the events of a run: the stored ones, then new ones from any process."""

from __future__ import annotations

import asyncio
import logging
import re
from urllib.parse import parse_qs

from gateway_project.lib.asgi import Scope
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.errors import BadRequest, Unavailable
from gateway_project.lib.presence import Presence
from gateway_project.lib.sse import DONE
from responses_api.background import events
from responses_api.background.events import NumberedEvents
from responses_api.background.run_watcher import RunState, RunWatcher
from responses_api.process.interruption import Interruption
from responses_api.process.response_writer import ResponseWriter
from responses_api.services import Services
from responses_api.storage import reading
from responses_api.stream import events as response_events
from tenants.keys.caller import Caller

logger = logging.getLogger("tollgate.background")

RETRY_SECONDS = 1.0
_RESPONSE = re.compile(r"/(?:openai/)?v1/responses/[^/]+")


class Follower:
    """One client that follows one run, in the task the server made for its request.

    Pull model: a page of events is read once the client took the one before it.
    """

    def __init__(
        self,
        services: Services,
        run_watcher: RunWatcher,
        reply: ResponseWriter,
        request_id: str,
        tenant_id: int,
        response_id: str,
        state: RunState,
    ) -> None:
        """`state` is the run's last known state."""
        self._services = services
        self._run_watcher = run_watcher
        self._reply = reply
        self._tenant_id = tenant_id
        self._response_id = response_id
        self._state: RunState | None = state
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._interruption: Interruption | None = None
        # The call that it follows may run here too, under the plain id.
        self.request_id = f"{request_id} follows"

    async def run(self, presence: Presence, after: int) -> None:
        """Send the events that follow number `after`. Return normally, unless the server cancelled the task.

        A client that does not get the end is disconnected, so that it cannot take the stream for complete.
        """
        self._task = asyncio.current_task()
        self._services.registry.add(self)
        presence.watch(self._client_left)
        try:
            run = (self._tenant_id, self._response_id)
            with self._run_watcher.watching(*run, self._take, seen=self._state):
                await self._follow(after)
        except asyncio.CancelledError:
            if self._interruption is None or self._task is None:
                raise
            self._task.uncancel()
        except TimeoutError:
            return  # the client takes nothing
        finally:
            presence.unwatch()
            self._services.registry.remove(self)

    def interrupt(self, why: Interruption) -> None:
        """End it from outside; only the first reason counts."""
        if self._interruption is None and self._task is not None:
            self._interruption = why
            self._task.cancel()

    def _client_left(self) -> None:
        if not self._reply.survives_client:
            self.interrupt(Interruption.CLIENT_GONE)

    def _take(self, state: RunState | None) -> None:
        self._state = state
        self._changed.set()

    async def _follow(self, after: int) -> None:
        if not self._reply.started:
            await self._reply.start_stream(closing=self._services.registry.draining)
            # The head is sent with the body that follows, and events may take long to come.
            await self._send(b"", more=True)
        while (state := self._state) is not None:
            if after < state.last_number:
                page = await self._page(after, state.last_number)
            elif state.is_final:
                if after > state.last_number:
                    return  # the database lost events that this client got; its end would not fit
                page = NumberedEvents(b"", after + 1, after)
            else:
                await self._wait(after)
                continue
            if page is None:
                return  # deleted since
            held = self._services.held.try_to_hold(len(page.events))
            if held is None:
                del page  # no room: pages of clients that do not read fill it
                await self._send(response_events.keepalive(after), more=True)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            with held:
                if state.is_final and page.last == state.last_number:
                    await self._send(page.events + DONE, more=False)
                    return
                if page.events:
                    await self._send(page.events, more=True)
            after = page.last

    async def _page(self, after: int, until: int) -> NumberedEvents | None:
        """Return some of these events, or a keep-alive if the database is unavailable; None if they no
        longer exist."""
        try:
            place = (self._tenant_id, self._response_id)
            page = await in_database_thread(events.page, *place, after, until)
        except StoreUnavailable:
            await asyncio.sleep(RETRY_SECONDS)
            return NumberedEvents(response_events.keepalive(after), after + 1, after)
        return page if page.events else None

    async def _wait(self, after: int) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(self._services.timeouts.keepalive):
                await self._changed.wait()
        except TimeoutError:
            # Nothing may precede response.created (docs/wire.md 5.5); a run has it from its beginning.
            await self._send(response_events.keepalive(after), more=True)

    async def _send(self, body: bytes, *, more: bool) -> None:
        async with asyncio.timeout(self._services.timeouts.send_stall):
            await self._reply.send(body, more=more)


async def open_follower(
    services: Services,
    run_watcher: RunWatcher,
    caller: Caller,
    scope: Scope,
    reply: ResponseWriter,
    request_id: str,
) -> tuple[Follower, int]:
    """Return a follower of the run that the path names, and the number of the last event the client knows.

    Raise NotFound, BadRequest or Unavailable.
    """
    after = starting_after(scope["query_string"])
    response_id = scope["path"].rpartition("/")[2]
    try:
        state = await in_database_thread(_find, caller.tenant_id, response_id, after)
    except StoreUnavailable as error:
        message = "The database is unavailable; try again."
        raise Unavailable(message, retry_after_seconds=2) from error
    follower = Follower(
        services, run_watcher, reply, request_id, caller.tenant_id, response_id, state
    )
    return follower, after


def _find(tenant_id: int, response_id: str, after: int) -> RunState:
    """Return the state of the tenant's run whose events after `after` can be sent."""
    row = (
        reading.responses(tenant_id, response_id)
        .values_list("run__status", "run__last_number", "run__streams")
        .first()
    )
    if row is None:
        raise reading.response_not_found()
    status, last_number, streams = row
    if not streams:
        raise BadRequest(
            "This response has no stored events. Only a response created with 'background' and 'stream', or "
            "with 'stream' and a model that stores streams, can be streamed again.",
            param="stream",
        )
    if after > last_number:
        raise BadRequest(
            f"Invalid value for 'starting_after': {after} is beyond the last event, {last_number}.",
            param="starting_after",
        )
    return RunState(status, last_number)


def starting_after(query: bytes) -> int:
    """Return the number of the last event the client knows; -1 if it knows none. Raise BadRequest."""
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("starting_after")
    if given is None:
        return -1
    if not re.fullmatch(r"[0-9]{1,9}", given[-1]):
        raise BadRequest(
            f"Invalid value for 'starting_after': {given[-1][:100]!r}; use the sequence_number of the last "
            "event you have.",
            param="starting_after",
        )
    return int(given[-1])


def is_asked_for(scope: Scope) -> bool:
    """Return whether a request is GET /responses/{id} and asks for a stream."""
    if scope["method"] != "GET" or not _RESPONSE.fullmatch(scope["path"]):
        return False
    given = parse_qs(scope["query_string"].decode("latin-1")).get("stream", [""])
    return given[-1].lower() in {"true", "1"}
