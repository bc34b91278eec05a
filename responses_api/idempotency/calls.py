"""Idempotency-Key: what a key is, and who in which process runs the call behind it.

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
from responses_api.doors.shapes import DoorName
from responses_api.idempotency import ownership
from responses_api.idempotency.ownership import Ownership
from responses_api.interruption import Interruption
from responses_api.leases import Renewal
from responses_api.storage import idempotent_calls
from responses_api.storage.idempotent_calls import Claim, Ended, Ending, Found, Lost
from responses_api.storage.keepers import write
from responses_api.storage.writer import Writer

logger = logging.getLogger("tollgate.idempotency")

HEADER = "Idempotency-Key"
REPLAYED = "idempotent-replayed"
_HEADER = HEADER.lower().encode()
_KEY = re.compile(rb"[\x21-\x7e]{1,255}\Z")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 0.25
# A failure is told without delay: that its key is free is not worth more than this of waiting.
FAILURE_SECONDS = 0.25
RETRY_SECONDS = 1.0


class Key(Struct, frozen=True):
    """A key with what it was sent with: digests, because neither needs to be known again."""

    key_digest: bytes
    request_digest: bytes


def key_of(headers: Headers, door: DoorName, body: bytes) -> Key | None:
    """The key of a request, None if it has none. Raises BadRequest."""
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
    """One per worker: the calls it runs, and those of other processes its clients wait for.

    Whoever waits for a call finds the future of its ending under the call's owner. It gives None when
    the owner was lost; then the key may be claimed again.
    """

    def __init__(self, writer: Writer, interrupt: Callable[[str, Interruption], object]) -> None:
        """`interrupt` ends the request of that id."""
        self._writer = writer
        self._interrupt = interrupt
        self._loop = asyncio.get_running_loop()
        self._endings: dict[str, asyncio.Future[Ending | None]] = {}
        self._running: dict[str, Ownership] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def claim(self, tenant_id: int, key: Key, owner: str) -> Found:
        """The call behind the key: to be run, and `release`d, by the caller if `owner` is its owner.

        Raises Unavailable: without the database nobody can promise that there is only one.
        """
        # Before the claim is written, because those that join may learn of it in the same moment.
        self._endings[owner] = self._loop.create_future()
        claimed_at = clock.timestamp()
        found: Found | None = None
        try:
            found = await write(
                self._writer, Claim(tenant_id, key.key_digest, key.request_digest, owner)
            )
        except StoreUnavailable as error:
            message = (
                f"The database does not answer, so {HEADER!r} cannot be honoured now; try again."
            )
            raise Unavailable(message, retry_after_seconds=2) from error
        finally:
            if found is None or found.owner != owner:
                self._resolve(owner, None)
        if found.owner == owner:
            on_loss = partial(self._loop.call_soon_threadsafe, self._lost, owner)
            self._running[owner] = Ownership(self._writer, found, claimed_at, on_loss)
        return found

    def ownership(self, call: Found) -> Ownership:
        """Of a call that runs here."""
        return self._running[call.owner]

    def renewal(self) -> Renewal | None:
        """The leases of the calls that run here, to be renewed. From any thread."""
        return ownership.renewal(list(self._running.copy().values()))

    async def end(self, call: Found, ending: Ending) -> None:
        """Commit how a call ended. If that fails it is tried again until its lease runs out, and the key is
        free after that."""
        writing = aio.hold(self._write(Ended(call, ending)), "end-idempotent-call")
        await asyncio.wait([writing], timeout=FAILURE_SECONDS if ending.is_failure else None)

    def release(self, call: Found, ending: Ending | None) -> None:
        """The call runs no longer; those that wait for it here get its ending."""
        owned = self._running.pop(call.owner, None)
        is_lost = owned is not None and owned.is_lost
        self._resolve(call.owner, None if is_lost else ending)

    def _lost(self, owner: str) -> None:
        if owner in self._running:
            self._interrupt(owner, Interruption.KEY_LOST)

    def ending(self, call: Found) -> asyncio.Future[Ending | None]:
        """How a call ends that somebody runs here or elsewhere."""
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

    async def _write(self, record: Ended) -> None:
        try:
            await write(self._writer, record)
        except StoreUnavailable as error:
            logger.error("an idempotent call is not noted yet: %s", error)
            self._held(self._write_again(record), "end-idempotent-call-again")

    async def _write_again(self, record: Ended) -> None:
        """While nobody else can have taken the key over; after that nothing would be changed."""
        give_up_at = clock.monotonic() + idempotent_calls.LEASE.total_seconds()
        while clock.monotonic() < give_up_at:
            await asyncio.sleep(RETRY_SECONDS)
            with contextlib.suppress(StoreUnavailable):
                await write(self._writer, record)
                return
        logger.error("an idempotent call was not noted: its key is free again")

    async def _poll(self, call: Found) -> None:
        """Wait for a call of another process; all who wait for it here share this."""
        ending, pause = None, FIRST_PAUSE_SECONDS
        try:
            while (ending := await in_database_thread(idempotent_calls.ending_of, call)) is None:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        except (Lost, StoreUnavailable):
            return
        finally:
            self._resolve(call.owner, ending)

    def _resolve(self, owner: str, ending: Ending | None) -> None:
        future = self._endings.pop(owner, None)
        if future is not None and not future.done():
            future.set_result(ending)
