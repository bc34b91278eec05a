"""How many tokens a request has: as the upstream counts them, or as we estimate them where it cannot."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct

from gateway_project.lib.errors import UpstreamError, UpstreamRejected
from responses_api import refusals
from responses_api.cells import CELLS
from responses_api.doors import responses_canonical
from routing import tokens
from routing.counting import COUNTERS, Counter, counted
from routing.route import Target

if TYPE_CHECKING:
    from responses_api.admission import Admitted
    from responses_api.worker import Worker

logger = logging.getLogger("tollgate.counting")

Json = dict[str, Any]

ESTIMATE_HEADER = "x-tollgate-estimate"
COUNT_SECONDS = 10.0


class Count(Struct, frozen=True):
    """`is_estimate`: ours, made with a tokenizer that need not be the model's."""

    tokens: int
    is_estimate: bool

    @property
    def headers(self) -> dict[str, str]:
        return {ESTIMATE_HEADER: "true"} if self.is_estimate else {}

    def body(self) -> Json:
        return {"object": "response.input_tokens", "input_tokens": self.tokens}


async def count(worker: Worker, admitted: Admitted) -> Count:
    """The tokens of an admitted request at its first target. Raises BadRequest, UpstreamRejected."""
    target = admitted.targets[0]
    canonical = responses_canonical.canonical(admitted.call.body)
    counter = COUNTERS.get(target.protocol)
    if counter is not None and not target.missing_credential:
        try:
            async with asyncio.timeout(COUNT_SECONDS):
                return Count(await _asked(worker, admitted, target, counter, canonical), False)
        except UpstreamRejected:
            raise
        except (UpstreamError, TimeoutError) as error:
            logger.info("%s does not count: %s", target.name, error)
    # Loading the tokenizer once takes half a second; counting lets other threads run.
    return Count(await asyncio.to_thread(tokens.of_request, canonical), True)


async def _asked(
    worker: Worker, admitted: Admitted, target: Target, counter: Counter, canonical: Json
) -> int:
    headers = CELLS["responses", target.protocol].headers(admitted.upstream_headers)
    payload = orjson.dumps(counter.body(canonical, target))
    answer = await worker.transport.post(target, counter.path, payload, headers)
    try:
        if answer.status != 200:
            raise await refusals.of_status(answer)
        return counted(await answer.body(), target)
    finally:
        answer.close()
