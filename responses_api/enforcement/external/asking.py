"""Ask external checks: one POST within a time limit, over the egress policy, redirects refused.

What a check let through is remembered by a digest of the text, so that a long conversation is not paid for
again with every turn. Where a check cannot be asked, CheckUnavailable says why, in one word.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterable

import orjson
from msgspec import Struct, structs

from gateway_project.lib import clock, structure
from gateway_project.lib.errors import GatewayError, UpstreamUnreachable
from gateway_project.lib.structure import Caps, TooMuchStructure
from responses_api.enforcement.external.breaker import Breaker
from responses_api.enforcement.external.protocol import (
    ALLOWED,
    CheckQuestion,
    Endpoint,
    ExternalVerdict,
    MalformedVerdict,
    MaskSpan,
)
from responses_api.guardrails.spec import GuardrailSpec, RequestSegment
from responses_api.webhooks import signing
from routing.upstream.transport import Transport, UpstreamResponse

MAX_ANSWER_BYTES = 8 * 1024 * 1024
CAPS = Caps(values=200_000, keys=200_000)
# Of what one worker remembers as let through: 32 bytes each.
REMEMBERED = 50_000
# A service takes only so many texts at once, and so much of them.
MOST_SEGMENTS = 256
MOST_CHARACTERS = 1_000_000


# Answers that say something of the text that was sent, and nothing of the service.
_OF_THE_TEXT = frozenset({400, 413, 422})


class CheckUnavailable(Exception):
    """The check could not be asked, or did not answer as it should; `reason` is one word or a few.

    `is_down`: the service itself seems to be away.
    """

    def __init__(self, reason: str, *, is_down: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_down = is_down


class Asked(Struct, frozen=True):
    """A verdict, and how long it took."""

    verdict: ExternalVerdict
    latency_ms: int


class ExternalChecks:
    """The external checks of one worker: their breakers, and what they let through."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._breakers: dict[int, Breaker] = {}
        self._allowed: OrderedDict[bytes, None] = OrderedDict()

    def clear(self) -> None:
        """Forget which checks did not answer: their rows may have changed."""
        self._breakers.clear()

    async def ask(self, spec: GuardrailSpec, endpoint: Endpoint, question: CheckQuestion) -> Asked:
        """Return the verdict on all texts that were not let through before. Raise CheckUnavailable."""
        began = clock.monotonic()
        digests = [_digest(spec, question, each) for each in question.segments]
        new = [n for n, digest in enumerate(digests) if not self._is_allowed(digest)]
        if not new:
            return Asked(ALLOWED, 0)
        asked = structs.replace(question, segments=tuple(question.segments[n] for n in new))
        verdict = await self._within_limits(spec, endpoint, asked)
        if verdict.action == "allow":
            self._remember(digests[n] for n in new)
        spans = {new[n]: found for n, found in verdict.spans.items()}
        verdict = structs.replace(verdict, spans=spans)
        return Asked(verdict, int((clock.monotonic() - began) * 1000))

    async def _within_limits(
        self, spec: GuardrailSpec, endpoint: Endpoint, question: CheckQuestion
    ) -> ExternalVerdict:
        """Ask unless the check is known to be away, within the time limit of its row."""
        breaker = self._breakers.setdefault(spec.id, Breaker())
        who, seconds = f"{question.tenant}/{question.key}", spec.timeout_ms / 1000
        if not breaker.may_ask(who, seconds):
            raise CheckUnavailable("breaker_open")
        try:
            async with asyncio.timeout(seconds):
                verdict = await self._ask_in_parts(endpoint, question)
        except TimeoutError:
            breaker.fail(who)
            raise CheckUnavailable("timeout") from None
        except CheckUnavailable as error:
            if error.is_down:
                breaker.fail(who)
            else:
                breaker.pass_by()
            raise
        except BaseException:  # the client has left
            breaker.pass_by()
            raise
        breaker.succeed()
        return verdict

    async def _ask_in_parts(self, endpoint: Endpoint, question: CheckQuestion) -> ExternalVerdict:
        """Ask for as many texts at once as a service takes, until one of them may not pass."""
        rule, spans = "", dict[int, tuple[MaskSpan, ...]]()
        for start, end in _parts(question.segments):
            part = structs.replace(question, segments=question.segments[start:end])
            verdict = await self._ask_once(endpoint, part)
            if verdict.action == "block":
                return verdict
            rule = rule or verdict.rule
            spans |= {start + n: found for n, found in verdict.spans.items()}
        return ExternalVerdict("mask", rule, spans) if spans else ALLOWED

    async def _ask_once(self, endpoint: Endpoint, question: CheckQuestion) -> ExternalVerdict:
        try:
            body = orjson.dumps(endpoint.write(question))
        except orjson.JSONEncodeError:
            raise CheckUnavailable("text that JSON cannot hold", is_down=False) from None
        try:
            response = await self._send(endpoint, body, question.request_id)
            try:
                return await _read(response, endpoint, question)
            finally:
                response.close()
        except GatewayError as error:
            raise CheckUnavailable(error.code) from error

    async def _send(self, endpoint: Endpoint, body: bytes, request_id: str) -> UpstreamResponse:
        """Send the question; once more where no connection came about."""
        headers = {"accept": "application/json", "x-request-id": request_id}
        if endpoint.api_key is not None:
            headers["x-api-key"] = endpoint.api_key.reveal()
        if endpoint.signing_secret is not None:
            try:
                headers |= signing.headers(request_id, body, [endpoint.signing_secret])
            except signing.UnusableSecret:
                raise CheckUnavailable("unusable_secret", is_down=False) from None
        try:
            return await self._post(endpoint, body, headers)
        except UpstreamUnreachable:
            return await self._post(endpoint, body, headers)

    async def _post(
        self, endpoint: Endpoint, body: bytes, headers: dict[str, str]
    ) -> UpstreamResponse:
        try:
            return await self._transport.post(endpoint.target, endpoint.path, body, headers)
        except ValueError:
            raise CheckUnavailable("unusable_header", is_down=False) from None

    def _is_allowed(self, digest: bytes) -> bool:
        """Return whether a text was let through, which it is remembered for the longer."""
        if digest not in self._allowed:
            return False
        self._allowed.move_to_end(digest)
        return True

    def _remember(self, digests: Iterable[bytes]) -> None:
        for digest in digests:
            self._allowed[digest] = None
        while len(self._allowed) > REMEMBERED:
            self._allowed.popitem(last=False)


async def _read(
    response: UpstreamResponse, endpoint: Endpoint, question: CheckQuestion
) -> ExternalVerdict:
    """Return the verdict in an answer. Raise CheckUnavailable for everything that is none."""
    if response.status != 200:
        is_down = response.status not in _OF_THE_TEXT
        raise CheckUnavailable(f"http_{response.status}", is_down=is_down)
    raw = await response.body(MAX_ANSWER_BYTES)
    try:
        structure.check(CAPS, raw)
        return endpoint.read(orjson.loads(raw), question)
    except (orjson.JSONDecodeError, TooMuchStructure):
        raise CheckUnavailable("malformed: not JSON, or too much of it", is_down=False) from None
    except MalformedVerdict as error:
        raise CheckUnavailable(f"malformed: {error}", is_down=False) from None


def _parts(segments: tuple[RequestSegment, ...]) -> Iterable[tuple[int, int]]:
    """Cut texts into as many as may be asked for at once."""
    start = size = 0
    for n, segment in enumerate(segments):
        if n > start and (n - start >= MOST_SEGMENTS or size + len(segment.text) > MOST_CHARACTERS):
            yield start, n
            start, size = n, 0
        size += len(segment.text)
    if start < len(segments):
        yield start, len(segments)


def _digest(spec: GuardrailSpec, question: CheckQuestion, segment: RequestSegment) -> bytes:
    """Digest a text with everything its verdict may depend on."""
    place = (spec.id, spec.revision, question.stage, question.tenant, question.key, question.alias)
    about = repr((place, segment.surface, segment.role)).encode()
    return hashlib.blake2b(
        about + b"\0" + segment.text.encode("utf-8", "surrogatepass"), digest_size=32
    ).digest()
