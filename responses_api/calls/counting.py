"""Count the tokens of a request: by the upstream's own count, or by our estimate if it has none."""

from __future__ import annotations

import asyncio
import logging

import orjson
from msgspec import Struct

from gateway_project.lib.errors import UpstreamError, UpstreamRejected
from gateway_project.lib.json import Json
from responses_api.calls.admission import Admitted
from responses_api.calls.upstream_call import UpstreamCall
from routing import tokens
from routing.protocols import PROTOCOLS
from routing.protocols.shared.protocol import Counter
from routing.route import ResolvedTarget
from routing.upstream.transport import Transport

logger = logging.getLogger("tollgate.counting")


ESTIMATE_HEADER = "x-tollgate-estimate"
COUNT_SECONDS = 10.0


class Count(Struct, frozen=True):
    """A token count. `is_estimate`: it is ours, made with a tokenizer that may not be the model's."""

    tokens: int
    is_estimate: bool

    @property
    def headers(self) -> dict[str, str]:
        return {ESTIMATE_HEADER: "true"} if self.is_estimate else {}


async def count(transport: Transport, admitted: Admitted) -> Count:
    """Count the tokens of an admitted request at its first target. Raise BadRequest or UpstreamRejected."""
    target = admitted.targets[0]
    canonical = admitted.door.canonical(admitted.call.body)
    counter = PROTOCOLS[target.protocol].counter
    if counter is not None and not target.missing_credential:
        try:
            async with asyncio.timeout(COUNT_SECONDS):
                return Count(
                    await _ask_upstream(transport, admitted, target, counter, canonical), False
                )
        except UpstreamRejected:
            raise
        except (UpstreamError, TimeoutError) as error:
            logger.info("%s does not count tokens: %s", target.name, error)
    # Loading the tokenizer once takes half a second; counting lets other threads run.
    return Count(await asyncio.to_thread(tokens.of_request, canonical), True)


async def _ask_upstream(
    transport: Transport,
    admitted: Admitted,
    target: ResolvedTarget,
    counter: Counter,
    canonical: Json,
) -> int:
    headers = {**admitted.upstream_headers, **PROTOCOLS[target.protocol].headers}
    payload = orjson.dumps(counter.body(canonical, target))
    call = UpstreamCall(transport, target, counter.path, payload, headers)
    try:
        return counter.read(await call.whole(), target)
    finally:
        call.close()
