"""A conversation made to fit the model it goes to: cut by `truncation`, or summarised by the model itself.

Both depend on the target, so they are settled when its turn comes.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import structs

from gateway_project.lib import clock
from responses_api import refusals
from responses_api.accounting.clamp import clamped
from responses_api.accounting.final_usage import final_usage
from responses_api.accounting.legs import settle_whole
from responses_api.cells import CELLS
from responses_api.compaction import sealed
from responses_api.compaction.answer import resumed
from responses_api.compaction.request import compact_threshold
from responses_api.doors import responses_canonical
from responses_api.doors.shapes import Compaction, ModelCall
from responses_api.relay import Identity
from routing import tokens
from routing.credentials import keyring
from routing.protocols import truncation
from routing.route import Target
from routing.transport import Answer
from tenants.token_classes import Usage

if TYPE_CHECKING:
    from responses_api.accounting.account import Account
    from responses_api.admission import Admitted
    from responses_api.worker import Worker

Json = dict[str, Any]

# No request has more tokens than bytes; what `truncation: auto` aims at is never below a third of the window.
_SURELY_SHORT = 3


async def fitted(call: ModelCall, target: Target) -> ModelCall:
    """The call with what fits of its input. Raises ContextLengthExceeded."""
    window = target.context_window
    if window is None or call.door == "chat" or call.size * _SURELY_SHORT <= window:
        return call
    canonical = responses_canonical.canonical(call.body)
    if truncation.is_short(canonical, target):
        return call
    # Counting takes milliseconds, and loading the tokenizer once takes longer.
    body = await asyncio.to_thread(truncation.fitted, canonical, target)
    return structs.replace(call, body=body)


async def compacted(
    worker: Worker, account: Account, admitted: Admitted, call: ModelCall, target: Target
) -> tuple[ModelCall, Usage | None]:
    """The call after its `context_management`: with a summary in place of what is too long, and what the
    summary cost. Where the upstream speaks Responses it is the upstream's to do. Raises GatewayError."""
    if target.protocol == "responses" or call.door != "responses":
        return call, None
    threshold = compact_threshold(call.body, target.context_window)
    if threshold is None:
        return call, None
    canonical = responses_canonical.canonical(call.body)
    if not await asyncio.to_thread(tokens.exceed, canonical, threshold):
        return call, None
    item, usage = await _summary(worker, account, admitted, call, target)
    summary = sealed.opened(item, admitted.caller.tenant_id, keyring())
    return structs.replace(call, body=resumed(canonical, summary), preceding=item), usage


async def _summary(
    worker: Worker, account: Account, admitted: Admitted, call: ModelCall, target: Target
) -> tuple[Json, Usage | None]:
    """The item that a call of its own to the same target gives, whole and not streamed."""
    cell = CELLS["compact", target.protocol]
    tenant_id = admitted.caller.tenant_id
    seal = partial(sealed.seal, tenant_id=tenant_id, keyring=keyring(), supersedes=True)
    asked = structs.replace(
        call,
        door="compact",
        stream=False,
        body={**call.body, "stream": False},
        compaction=Compaction(seal, []),
    )
    identity = Identity("", call.model, int(clock.timestamp()))
    drop_unsupported = admitted.route.drop_unsupported
    leg = cell.open(asked, target, identity, drop_unsupported=drop_unsupported)
    headers = cell.headers({**admitted.upstream_headers, "accept": "application/json"})
    payload = orjson.dumps(leg.body)
    entry, limit = await account.open(target, "summary", asked, leg.body, payload)
    if limit is not None:
        leg = cell.open(clamped(asked, limit), target, identity, drop_unsupported=drop_unsupported)
        payload = orjson.dumps(leg.body)
    answer: Answer | None = None
    failure: BaseException | None = None
    try:
        answer = await worker.transport.post(target, cell.path, payload, headers)
        if answer.status != 200:
            raise await refusals.of_status(answer)
        leg.relay.body(await answer.body())
        usage, _ = final_usage(leg.relay, entry.input_estimate)
        await entry.fund(usage, leg.relay.service_tier)
    except BaseException as error:
        failure = error
        raise
    finally:
        settle_whole(entry, leg.relay, answer, failure)
        if answer is not None:
            answer.close()
    made = leg.relay.answer()
    assert made is not None
    *_, item = made["output"]
    return item, leg.relay.meter.usage
