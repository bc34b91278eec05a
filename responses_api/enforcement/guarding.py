"""Put the guardrails of a call to work: on its input before anything is sent, and on its answer.

    local checks      of everything the model is sent, whatever door and transport it came by
    external checks   of what is left, masked already; those that run beside the call are begun later
    what comes of it  a refusal that names the guardrail, or the call as it is sent
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from msgspec import Struct, structs

from gateway_project.lib.errors import (
    ContentPolicyViolation,
    GatewayError,
    GuardrailUnavailable,
)
from gateway_project.lib.writer import Writer
from responses_api.accounting import expected_tokens
from responses_api.doors.door import Door
from responses_api.doors.shapes import ModelCall
from responses_api.enforcement.call import CallGuardrails
from responses_api.enforcement.external.asking import ExternalChecks
from responses_api.enforcement.external.judging import Judged, merged_spans
from responses_api.enforcement.external.protocol import Span, apply_spans
from responses_api.enforcement.parallel import ParallelChecks
from responses_api.enforcement.policies import GuardrailPolicies
from responses_api.enforcement.recording import EventWriter
from responses_api.guardrails import surfaces
from responses_api.guardrails.engine import RequestVerdict
from responses_api.guardrails.spec import ENDING, Finding, RequestContents, Segment, Stage
from routing.upstream.transport import Transport
from tenants.keys.caller import Caller

# Checking more text than this would hold the event loop up for a millisecond.
SHORT_CHARACTERS = 64 * 1024


class Guarded(Struct, frozen=True):
    """A call that may be sent, as it is sent.

    kept        its body as it is stored, if masks that are never put back changed it
    guardrails  take what is found while it runs
    beside      checks of the input that run beside the call, if there are any
    """

    call: ModelCall
    guardrails: CallGuardrails
    kept: dict[str, object] | None = None
    beside: ParallelChecks | None = None


class Guardrails:
    """The guardrails of one worker. `is_idle`: there are none, so nothing needs to be looked up."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: Transport, writer: Writer
    ) -> None:
        self.policies = GuardrailPolicies(loop)
        self._checks = ExternalChecks(transport)
        self._events = EventWriter(writer)

    @property
    def is_idle(self) -> bool:
        return self.policies.is_idle

    def clear(self) -> None:
        """Forget what was read: the configuration has changed."""
        self.policies.clear()
        self._checks.clear()

    async def guard(
        self,
        caller: Caller,
        door: Door,
        call: ModelCall,
        *,
        request_id: str,
        alias: str,
        passed: Mapping[int, int] | None = None,
    ) -> Guarded | None:
        """Check the input of a call; None if no guardrail applies to it. `passed`: external checks, by
        number and revision, that have let this very request through before. Raise ContentPolicyViolation,
        GuardrailUnavailable or Unavailable."""
        policy = await self.policies.policy(caller, call.model)
        if policy.engine is None:
            return None
        guardrails = CallGuardrails(
            policy, self._checks, self._events, request_id=request_id, caller=caller, alias=alias
        )
        return await _guarded(guardrails, door, call, passed or {})


async def _guarded(
    guardrails: CallGuardrails, door: Door, call: ModelCall, passed: Mapping[int, int]
) -> Guarded:
    engine = guardrails.policy.engine
    assert engine is not None
    if not engine.reads_request:
        return Guarded(_with_output_guard(guardrails, call, None), guardrails)
    contents = surfaces_of(door, call)
    verdict = await _check_locally(guardrails, door, call, contents)
    _report_all(guardrails, call, verdict.findings)
    texts, kept, external_passed = await _check_outside(guardrails, call, contents, verdict, passed)
    sent = call
    if texts != tuple(segment.text for segment in contents.segments):
        sent = structs.replace(call, body=surfaces.write(call.body, contents, texts))
    stored = None
    if kept != tuple(segment.text for segment in contents.segments):
        stored = surfaces.write(call.body, contents, kept)
    beside = None
    return Guarded(_with_output_guard(guardrails, sent, verdict), guardrails, stored, beside)
