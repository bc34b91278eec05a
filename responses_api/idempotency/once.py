"""One call for all requests with the same Idempotency-Key: one request runs it, the others join."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from msgspec import structs

from gateway_project.lib.errors import GatewayError, IdempotencyMismatch
from gateway_project.lib.presence import Presence
from responses_api.admission import Admitted, Request, admit_call
from responses_api.idempotency.calls import Key
from responses_api.idempotency.joining import Joiner
from responses_api.idempotency.recording import Recording
from responses_api.outcome import facts, refused
from responses_api.reply import Reply
from responses_api.storage.idempotent_calls import Found

if TYPE_CHECKING:
    from responses_api.worker import Worker

Run = Callable[[Admitted, Reply], Awaitable[None]]

# How much of the time after which a client that takes nothing would end its call; it must not end this one.
PATIENCE = 0.5


async def once(
    worker: Worker, request: Request, key: Key, reply: Reply, presence: Presence, run: Run
) -> None:
    """Answer a request that was read and carries a key, with `run` if nobody else does. Raises
    GatewayError if nothing was sent, ClientGone."""
    caller, call = request.caller, request.call
    assert caller is not None
    assert call is not None
    # An answer is for those who might have asked for it, which another key of the tenant might not.
    await worker.router.route(caller, call.model)
    calls, joiner = worker.idempotent_calls, Joiner(worker, request.id, call, reply)
    while (found := await calls.claim(caller.tenant_id, key, request.id)).owner != request.id:
        if not found.is_same_request:
            raise IdempotencyMismatch
        if await _joined(worker, request, joiner, found, presence):
            return
    await _run(worker, request, found, reply, run)


async def _joined(
    worker: Worker, request: Request, joiner: Joiner, found: Found, presence: Presence
) -> bool:
    """Whether the request was answered; if not, the call it had joined was lost."""
    try:
        ending = await joiner.ending(found, presence)
    except GatewayError as error:
        await joiner.error(error)
        worker.record(facts(request), refused("refused", error.http_status, error.code))
        return True
    if ending is None:
        return False
    await joiner.replay(ending)
    worker.record(facts(request), refused("replayed", ending.http_status, None))
    return True


async def _run(worker: Worker, request: Request, found: Found, reply: Reply, run: Run) -> None:
    assert request.call is not None
    recording = Recording(
        reply,
        worker.idempotent_calls,
        found,
        request.call,
        max_bytes=worker.max_replay_bytes,
        stall_seconds=worker.limits.send_stall * PATIENCE,
    )
    try:
        admitted = recording.kept_with(await admit_call(worker, request, request.call))
        owned = worker.idempotent_calls.ownership(found)
        await run(structs.replace(admitted, ownership=owned), recording)
    except GatewayError as error:
        await recording.refused(error)
        raise
    finally:
        recording.finish()
