"""Idempotency-Key: read keys, and track which process runs the call behind each.

claim    one row per tenant and key decides who runs the call (storage/idempotent_calls.py)
    run      the owner's reply is recorded and committed before its client has all of it (recording.py)
    join     everybody else waits for that answer and gets the same bytes (joining.py)

A request without the header pays for one look at its headers.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from msgspec import Struct

from gateway_project.lib import aio, clock
from gateway_project.lib.asgi import Headers
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.errors import BadRequest, Unavailable
from gateway_project.lib.renewals import Renewal
from gateway_project.lib.writer import Writer
from responses_api.process.interruption import Interruption
from responses_api.storage import idempotent_calls, ownership
from responses_api.storage.idempotent_calls import EndedCall, Found, KeyClaim, KeyedCallEnd, Lost
from responses_api.storage.ownership import Ownership
from responses_api.storage.stores import write

logger = logging.getLogger("tollgate.idempotency")

HEADER = "Idempotency-Key"
_HEADER = HEADER.lower().encode()
_KEY = re.compile(rb"[\x21-\x7e]{1,255}\Z")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 0.25
# A failure is told quickly: freeing its key is not worth a longer wait.
FAILURE_SECONDS = 0.25
RETRY_SECONDS = 1.0


class Key(Struct, frozen=True):
    """A key with the request it was sent with: digests, because neither needs to be known again."""

    key_digest: bytes
    request_digest: bytes


def key_of(headers: Headers, door: str, body: bytes) -> Key | None:
    """Return the key of a request; None if it has none. Raise BadRequest."""
    given = {value for name, value in headers if name == _HEADER}
    if not given:
        return None
    if len(given) > 1:
        raise BadRequest(f"{HEADER!r} was sent twice with different values.", param=HEADER)
    key = given.pop()
    if not _KEY.match(key):
        raise BadRequest(f"{HEADER!r} must be 1 to 255 visible ASCII characters.", param=HEADER)
    request = hashlib.sha256(door.encode() + b"\0" + body)
    return Key(hashlib.sha256(key).digest(), request.digest())


class IdempotentCalls:
    """The calls that one worker runs, and the calls of other processes its clients wait for.

    Whoever waits for a call finds the future of its ending under the call's owner. The future gives None if
    the owner was lost; then the key may be claimed again.
    """

    def __init__(self, writer: Writer, interrupt: Callable[[str, Interruption], object]) -> None:
        """`interrupt` ends the request of that id."""
        self._writer = writer
        self._interrupt = interrupt
        self._loop = asyncio.get_running_loop()
        self._endings: dict[str, asyncio.Future[KeyedCallEnd | None]] = {}
        self._running: dict[str, Ownership] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def claim(self, tenant_id: int, key: Key, owner: str) -> Found:
        """Return the call behind the key. If `owner` is its owner, the caller runs and `release`s it.

        Raise Unavailable: without the database nobody can promise that there is only one call.
        """
        # Before the claim is written, because requests that join may learn of it at the same moment.
        self._endings[owner] = self._loop.create_future()
        claimed_at = clock.timestamp()
        found: Found | None = None
        try:
            found = await write(
                self._writer, KeyClaim(tenant_id, key.key_digest, key.request_digest, owner)
            )
        except StoreUnavailable as error:
            message = f"The database is unavailable, so {HEADER!r} cannot be honoured; try again."
            raise Unavailable(message, retry_after_seconds=2) from error
        finally:
            if found is None or found.owner != owner:
                self._resolve(owner, None)
        if found.owner == owner:
            on_loss = partial(self._loop.call_soon_threadsafe, self._lost, owner)
            self._running[owner] = Ownership(self._writer, found, claimed_at, on_loss)
        return found

    def ownership(self, call: Found) -> Ownership:
        """Return the ownership of a call that runs here."""
        return self._running[call.owner]

    @property
    def running(self) -> tuple[Ownership, ...]:
        """The ownerships of all calls that run here."""
        return tuple(self._running.values())

    def renewal(self) -> Renewal | None:
        """Return the renewal of the leases of all calls that run here. Callable from any thread."""
        return ownership.renewal(list(self._running.copy().values()))

    async def end(self, call: Found, ending: KeyedCallEnd) -> None:
        """Commit how a call ended. If that fails, retry until the lease runs out; the key is free after
        that."""
        writing = aio.hold(self._write(EndedCall(call, ending)), "end-idempotent-call")
        await asyncio.wait([writing], timeout=FAILURE_SECONDS if ending.is_failure else None)

    def release(self, call: Found, ending: KeyedCallEnd | None) -> None:
        """Remove a call that no longer runs, and give its ending to those that wait for it here."""
        owned = self._running.pop(call.owner, None)
        is_lost = owned is not None and owned.is_lost
        self._resolve(call.owner, None if is_lost else ending)

    def _lost(self, owner: str) -> None:
        if owner in self._running:
            self._interrupt(owner, Interruption.KEY_LOST)

    def ending(self, call: Found) -> asyncio.Future[KeyedCallEnd | None]:
        """Return the future of the ending of a call that runs here or elsewhere."""
        known = self._endings.get(call.owner)
        if known is not None:
            return known
        future = self._endings[call.owner] = self._loop.create_future()
        self._held(self._poll(call), "await-idempotent-call")
        return future

    async def stop(self) -> None:
        for task in tuple(self._tasks):
            await aio.end(task)

    def _held(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = aio.hold(work, name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, record: EndedCall) -> None:
        try:
            await write(self._writer, record)
        except StoreUnavailable as error:
            logger.error("the end of an idempotent call is not stored yet: %s", error)
            self._held(self._write_again(record), "end-idempotent-call-again")

    async def _write_again(self, record: EndedCall) -> None:
        """Retry the write while nobody else can have taken over the key; after that it would change
        nothing."""
        give_up_at = clock.monotonic() + idempotent_calls.LEASE.total_seconds()
        while clock.monotonic() < give_up_at:
            await asyncio.sleep(RETRY_SECONDS)
            with contextlib.suppress(StoreUnavailable):
                await write(self._writer, record)
                return
        logger.error("the end of an idempotent call was not stored; its key is free again")

    async def _poll(self, call: Found) -> None:
        """Wait for a call of another process; all who wait for it here share this task."""
        ending, pause = None, FIRST_PAUSE_SECONDS
        try:
            while (ending := await in_database_thread(idempotent_calls.ending_of, call)) is None:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        except (Lost, StoreUnavailable):
            return
        finally:
            self._resolve(call.owner, ending)

    def _resolve(self, owner: str, ending: KeyedCallEnd | None) -> None:
        future = self._endings.pop(owner, None)
        if future is not None and not future.done():
            future.set_result(ending)
