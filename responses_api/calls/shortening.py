"""Shorten a conversation to fit its model: cut it by `truncation`, or let the model summarise it.

Both depend on the target, so they are settled when its turn comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec import structs

from gateway_project.lib import clock
from responses_api.calls.admission import Admitted
from responses_api.calls.attempt import Ask
from responses_api.compaction import sealed
from responses_api.compaction.answer import resume_from
from responses_api.doors.registry import BRIDGES, COMPACT, DOORS
from responses_api.doors.responses import canonical as responses_canonical
from responses_api.doors.responses.context_management import compact_threshold
from responses_api.doors.shapes import Compaction, ModelCall
from responses_api.stream.upstream_reader import Identity, UpstreamReader
from routing import tokens, truncation
from routing.credentials import keyring
from routing.protocols import PROTOCOLS
from routing.route import ResolvedTarget

Summarise = Callable[[Ask], Awaitable[UpstreamReader]]

# No request has more tokens than bytes; what `truncation: auto` aims at is never below a third of the window.
_SURELY_SHORT = 3


def may_exceed_window(call: ModelCall, target: ResolvedTarget) -> bool:
    """Tell whether the call has to be looked at by `fit_to_window`, as few have."""
    window = target.context_window
    if window is None or call.size * _SURELY_SHORT <= window:
        return False
    return DOORS[call.door].is_canonical


async def fit_to_window(call: ModelCall, target: ResolvedTarget) -> ModelCall:
    """Return the call with as much of its input as fits. Raise ContextLengthExceeded."""
    canonical = responses_canonical.canonical(call.body)
    if truncation.is_short(canonical, target):
        return call
    # Counting takes milliseconds, and loading the tokenizer once takes longer.
    body = await asyncio.to_thread(truncation.fit_to_window, canonical, target)
    return structs.replace(call, body=body)


def may_compact(call: ModelCall, target: ResolvedTarget) -> bool:
    """Tell whether the call has to be looked at by `compact`: an upstream that speaks Responses shortens it
    itself."""
    return DOORS[call.door].manages_context and not PROTOCOLS[target.protocol].manages_context


async def compact(admitted: Admitted, target: ResolvedTarget, summarise: Summarise) -> ModelCall:
    """Return the call after its `context_management`, with a summary, which `summarise` has made, in place
    of what is too long. Raise GatewayError."""
    call = admitted.call
    threshold = compact_threshold(call.body, target.context_window)
    if threshold is None:
        return call
    canonical = responses_canonical.canonical(call.body)
    if not await asyncio.to_thread(tokens.exceeds, canonical, threshold):
        return call
    reader = await summarise(_summary(admitted, target))
    *_, item = (reader.answer() or {})["output"]
    summary = sealed.opened(item, admitted.caller.tenant_id, keyring())
    return structs.replace(call, body=resume_from(canonical, summary), preceding=item)


def _summary(admitted: Admitted, target: ResolvedTarget) -> Ask:
    """Build the call, whole and not streamed, that asks the same target for the summary item."""
    call = admitted.call
    tenant_id = admitted.caller.tenant_id
    seal = partial(sealed.seal, tenant_id=tenant_id, keyring=keyring(), supersedes=True)
    asked = structs.replace(
        call,
        door=COMPACT.name,
        stream=False,
        body={**call.body, "stream": False},
        compaction=Compaction(seal, []),
    )
    return Ask(
        route="summary",
        bridge=BRIDGES[COMPACT.name, target.protocol],
        call=asked,
        target=target,
        identity=Identity("", call.model, int(clock.timestamp())),
        headers={**admitted.upstream_headers, "accept": "application/json"},
        drop_unsupported=admitted.route.drop_unsupported,
    )
