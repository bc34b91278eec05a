"""Make one call for all requests with the same Idempotency-Key: one request runs it, the others join."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import structs

from gateway_project.lib.errors import GatewayError, IdempotencyMismatch
from gateway_project.lib.presence import Presence
from responses_api.calls.admission import Admitted, GenerationRequest, admit_call
from responses_api.calls.ending import end_request
from responses_api.calls.outcome import refused_outcome
from responses_api.calls.refusals import record_refusal
from responses_api.idempotency.calls import IdempotentCalls, Key
from responses_api.idempotency.joining import Joiner
from responses_api.idempotency.recording import Recording
from responses_api.process.response_writer import ResponseWriter
from responses_api.services import Services
from responses_api.storage.idempotent_calls import Found

Run = Callable[[Admitted, ResponseWriter], Awaitable[None]]

# The part of the send stall limit to wait for a client; a stalled client must not end this call.
PATIENCE = 0.5


async def once(
    services: Services,
    calls: IdempotentCalls,
    request: GenerationRequest,
    key: Key,
    reply: ResponseWriter,
    presence: Presence,
    run: Run,
) -> None:
    """Answer a request that carries a key; call `run` if nobody else runs its call. Raise GatewayError if
    nothing was sent, or ClientGone."""
    caller, call = request.caller, request.call
    assert caller is not None
    assert call is not None
    # An answer is only for keys that could have asked for it; another key of the tenant might not.
    await services.router.route(caller, call.model)
    joiner = Joiner(services, calls, request.id, request.door, call, reply)
    while (found := await calls.claim(caller.tenant_id, key, request.id)).owner != request.id:
        if not found.is_same_request:
            raise IdempotencyMismatch
        if await _join(services, request, joiner, found, presence):
            return
    await _run(services, calls, request, found, reply, run)


async def _join(
    services: Services,
    request: GenerationRequest,
    joiner: Joiner,
    found: Found,
    presence: Presence,
) -> bool:
    """Join a call and return whether the request was answered; if not, the call's owner was lost."""
    try:
        ending = await joiner.ending(found, presence)
    except GatewayError as error:
        await joiner.error(error)
        record_refusal(services, request, error)
        return True
    if ending is None:
        return False
    await joiner.replay(ending)
    outcome = refused_outcome("replayed", ending.http_status, None)
    end_request(services, request, outcome)
    return True


async def _run(
    services: Services,
    calls: IdempotentCalls,
    request: GenerationRequest,
    found: Found,
    reply: ResponseWriter,
    run: Run,
) -> None:
    assert request.call is not None
    recording = Recording(
        reply,
        calls,
        found,
        request.call,
        request.door,
        max_bytes=services.max_replay_bytes,
        stall_seconds=services.timeouts.send_stall * PATIENCE,
    )
    try:
        admitted = recording.with_recording_store(await admit_call(services, request, request.call))
        owned = calls.ownership(found)
        await run(structs.replace(admitted, ownership=owned), recording)
    except GatewayError as error:
        await recording.note_refusal(error)
        raise
    finally:
        recording.finish()
