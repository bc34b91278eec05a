"""Run one call of one target, from its plan until it is settled.

open     plan the call, hold what it may cost, write it into the ledger
send     send it to the upstream
read     a whole answer, or a stream: up to its first output, then as the client takes it
settle   once, without awaiting, however it ended
"""

from __future__ import annotations

import asyncio

from msgspec import Struct

from gateway_project.lib import clock
from gateway_project.lib.errors import (
    Internal,
    Unavailable,
    UpstreamCut,
    UpstreamError,
    UpstreamMalformed,
    UpstreamTimeout,
)
from gateway_project.lib.json import dumps
from gateway_project.lib.sse import EventTooLarge, Parser
from gateway_project.lib.structure import Caps
from responses_api.accounting.clamp import clamp_output
from responses_api.accounting.final_usage import final_usage
from responses_api.accounting.metered_call import CallEnd, MeteredCall
from responses_api.accounting.request_costs import RequestCosts
from responses_api.calls import trace_parts, upstream_errors
from responses_api.calls.progress import Phase, Progress
from responses_api.calls.upstream_call import UpstreamCall
from responses_api.doors.plan import Bridge, Plan
from responses_api.doors.shapes import ModelCall
from responses_api.stream.translation import Translation
from responses_api.stream.upstream_reader import Identity, UpstreamReader
from routing.route import ResolvedTarget
from routing.upstream.transport import Transport, UpstreamResponse
from tenants.token_classes import Usage

# After these errors nobody knows whether the upstream ran the call.
_MAY_HAVE_RUN = (UpstreamCut, UpstreamTimeout, UpstreamMalformed)
# These end a call through no fault of its client, although the upstream may have run it.
_NOT_THE_CLIENTS = (UpstreamError, Unavailable, Internal)
SHORT_ANSWER_BYTES = 64 * 1024
CONTENT_FILTER = "content_filter"
_NOT_A_STREAM = frozenset({"application/json", "text/html"})


class Ask(Struct, frozen=True):
    """A call as it is put to one target. `route` is its name in the ledger; `headers` are passed on to any
    upstream."""

    route: str
    bridge: Bridge
    call: ModelCall
    target: ResolvedTarget
    identity: Identity
    headers: dict[str, str]
    drop_unsupported: bool

    def plan(self, limit: int | None = None) -> tuple[Plan, bytes]:
        """Return what is sent and what reads the answer, and the body as bytes. `limit`: the output tokens
        that budgets pay for. Raise BadRequest if the target cannot express the call."""
        call = self.call if limit is None else clamp_output(self.call, limit)
        plan = self.bridge.plan(
            call, self.target, self.identity, drop_unsupported=self.drop_unsupported
        )
        return plan, dumps(plan.body)


class Attempt:
    """One attempt at a call, made by `open_attempt`. Whoever has one settles and closes it."""

    __slots__ = (
        "_caps", "_final", "_guarded", "_is_cut_short", "_metered", "_parser", "_progress", "_upstream",
        "reader", "reply_headers", "target",
    )  # fmt: skip

    def __init__(
        self,
        plan: Plan,
        metered: MeteredCall,
        upstream: UpstreamCall,
        caps: Caps,
        progress: Progress,
    ) -> None:
        """`caps` bound the JSON of one event of a stream."""
        self._metered = metered
        self._upstream = upstream
        self._caps = caps
        self._parser: Parser | None = None  # only a stream needs one
        self._final: tuple[Usage, str] | None = None
        self._progress = progress
        self._is_cut_short = False
        self.reader: UpstreamReader = plan.reader
        self._guarded = plan.guarded
        self.reply_headers = plan.reply_headers
        self.target = upstream.target

    # Send

    async def send(self) -> UpstreamResponse:
        """Return the response as soon as its headers arrive, whatever its status. Raise UpstreamError."""
        self._progress.enter(Phase.WAITING)
        self._metered.sent_at = clock.monotonic()
        response = await self._upstream.send()
        self._progress.enter(Phase.STREAMING)
        return response

    # Read

    async def whole(self, response: UpstreamResponse) -> bytes:
        """Return a whole JSON answer as the client gets it. Raise UpstreamError."""
        if response.status != 200:
            raise await upstream_errors.of_status(response)
        raw = await response.body()
        self._progress.heard_at = clock.monotonic()
        if self._guarded is not None:
            return await self._whole_guarded(self._guarded, raw)
        return self.reader.body(raw)

    async def whole_for_us(self) -> bytes:
        """Send the call and return a whole answer that only we wait for; funded, settled and closed. Raise
        UpstreamError; whoever has the attempt says how a call ended that failed or was interrupted."""
        out = await self.whole(await self.send())
        await self.fund()
        self.settle("completed", http_status=self._upstream.status)
        self.close()
        return out

    async def first_output(self, response: UpstreamResponse) -> bytes:
        """Return a stream up to its first output. Raise UpstreamError."""
        if response.status != 200:
            raise await upstream_errors.of_status(response)
        if response.content_type in _NOT_A_STREAM:
            raise await upstream_errors.no_stream(response)
        self._parser = Parser(caps=self._caps)
        reader, out = self.reader, b""
        while not reader.has_output:
            out = await self.pull()
            if reader.failure is not None and not reader.has_output:
                raise reader.failure
        self._progress.first_output_at = clock.monotonic()
        return out

    async def pull(self) -> bytes:
        """Wait for the upstream's next bytes and return what they become; possibly nothing."""
        if self._guarded is not None:
            return await self._pull_guarded(self._guarded)
        return await self._pull()

    async def _pull(self) -> bytes:
        response = self._upstream.response
        chunk = b"" if response is None else await response.chunk()
        progress, reader, parser = self._progress, self.reader, self._parser
        assert parser is not None
        progress.heard_at = clock.monotonic()
        try:
            frames = parser.feed(chunk) if chunk else parser.finish()
        except EventTooLarge as error:
            raise UpstreamMalformed(f"{self.target.provider!r}: {error}") from error
        if not chunk:
            return reader.forward(frames) if frames else reader.finish()
        if not frames:
            return b""
        progress.since = progress.time()  # comments and incomplete events are not signs of life
        out = reader.forward(frames)
        self._metered.note(reader.tally.tokens, progress.ttft_ms)
        return out

    async def _pull_guarded(self, guarded: Translation) -> bytes:
        """Return what the upstream's bytes became, and what a verdict adds; nothing more is read before it.
        An answer that is blocked ends here, and its upstream is left."""
        try:
            out = await self._pull()
        finally:
            guarded.tell()
        while guarded.is_waiting:
            out += await guarded.judged()
        if guarded.is_blocked and not guarded.ended:
            out += guarded.end_blocked(self._counted(), as_stream=True)
            self.close()
        return out

    async def _whole_guarded(self, guarded: Translation, raw: bytes) -> bytes:
        """Return a whole answer once it may go out. A long one is searched in a thread, so that others are
        served meanwhile."""
        try:
            is_long = len(raw) > SHORT_ANSWER_BYTES
            out = await asyncio.to_thread(guarded.body, raw) if is_long else guarded.body(raw)
        finally:
            guarded.tell()
        if guarded.is_waiting:
            out = await guarded.judged_whole()
        if guarded.is_blocked:
            usage = guarded.meter.usage or self._counted()
            out = guarded.end_blocked(usage, as_stream=False)
        return out

    @property
    def end_code(self) -> str | None:
        """Return the code of an answer that a guardrail or the provider's own filter ended, for the ledger
        and the log."""
        guarded = self._guarded
        is_blocked = guarded is not None and guarded.is_blocked
        return CONTENT_FILTER if is_blocked or self.reader.is_filtered else None

    @property
    def _is_blocked(self) -> bool:
        return self._guarded is not None and self._guarded.is_blocked

    @property
    def may_report(self) -> bool:
        """Return whether the end may be near: some output was seen, and neither an end nor a failure."""
        reader = self.reader
        is_open = self._upstream.response is not None
        return is_open and reader.has_output and not reader.ended and reader.failure is None

    async def drain(self, seconds: float) -> None:
        await self._upstream.drain(seconds)

    def close(self) -> None:
        self._upstream.close()

    # Hold

    def is_covered(self) -> bool:
        """Return whether the hold, with what budgets can add at once, pays for the output so far. The
        output of an upstream that keeps to its limit is held already; only output surely beyond it needs
        more."""
        metered = self._metered
        return not metered.is_limited or metered.covers(self.reader.tally.at_least)

    async def cover(self) -> bool:
        """Return whether the budgets pay for the output so far. Ask the database if necessary."""
        return await self._metered.cover(self.reader.tally.at_least)

    def cut_short(self, why: str) -> bytes:
        """End the stream before its upstream does; return the end for the client."""
        self._is_cut_short = True
        out = self.reader.cut_short(self._counted(), why)
        self.close()
        return out

    @property
    def is_held(self) -> bool:
        """Return whether the call holds an amount of any budget."""
        return self._metered.is_held

    async def fund(self) -> None:
        """Hold what the answer costs, as far as the budgets have it, before it is settled: by its provider's
        report, or by our count of a stream that was cut or whose client left."""
        if self.is_held and not self._metered.settled:
            usage, _ = self._used(None)
            await self._metered.fund(usage, self.reader.service_tier)

    # Settle

    @property
    def is_streamed(self) -> bool:
        return self._metered.is_streamed

    @property
    def used_tokens(self) -> int:
        """Return the tokens it used, once it is settled."""
        return self._metered.used_tokens

    @property
    def waited_seconds(self) -> float:
        """Return for how long its upstream has been waited for, since it was sent."""
        return clock.monotonic() - self._metered.sent_at

    @property
    def is_unheard(self) -> bool:
        """Return whether no output of its upstream has come: of a whole answer, not even its head."""
        if self._metered.is_streamed:
            return not self.reader.has_output
        return self._upstream.response is None

    @property
    def is_settled(self) -> bool:
        return self._metered.settled

    def settle(
        self,
        status: str,
        error: BaseException | None = None,
        *,
        http_status: int = 0,
        error_code: str | None = None,
        is_first: bool | None = None,
    ) -> None:
        """Settle once; further calls change nothing. The gateway's own time is measured if it is known
        whether this attempt `is_first`, because the time before it then counts too."""
        if self._metered.settled:
            return
        usage, source = self._used(error)
        overhead = 0.0 if is_first is None else self._overhead(is_first=is_first)
        end = CallEnd(
            status,
            usage,
            source,
            http_status,
            error_code,
            service_tier=self.reader.service_tier,
            ttft_ms=self._progress.ttft_ms,
            overhead_seconds=overhead,
            is_unanswered=isinstance(error, _NOT_THE_CLIENTS) and not self._has_given,
        )
        self._metered.settle(end)
        trace_parts.note_leg(
            self._metered.opened,
            self.target.base_url,
            self._metered.sent_at,
            self._progress.first_output_at,
            status=status,
            http_status=self._upstream.status,
            error_code=error_code,
            usage=usage,
            usage_source=source,
            said=self.reader.upstream_facts,
        )

    @property
    def _has_given(self) -> bool:
        """Return whether the client was given any of the answer to a call that failed: one that is not
        streamed is given whole or not at all."""
        return self._metered.is_streamed and self.reader.has_output

    def _overhead(self, *, is_first: bool) -> float:
        """Return the seconds before the upstream was asked plus those since it was last heard."""
        progress, sent_at = self._progress, self._metered.sent_at
        before = sent_at - progress.opened_at if is_first else 0.0
        return before + max(clock.monotonic() - max(progress.heard_at, sent_at), 0.0)

    def seen(self) -> tuple[Usage | None, str]:
        """Return the usage that the client saw and its source: the provider's report if the answer ended
        properly, otherwise our count of what passed."""
        if not self.reader.has_output:
            return None, "none"
        if (known := self._final_usage()) is None:
            return self._counted(), "counted"
        usage, source = known
        return self.reader.meter.with_earlier(usage), source

    @property
    def final(self) -> tuple[Usage, str] | None:
        """Return the usage of an answer that ended properly, and its source; None of any other."""
        return self._final_usage()

    def _used(self, error: BaseException | None) -> tuple[Usage, str]:
        """Return the provider's report of an answer that ended properly; otherwise our count, if anything
        can have been used at all."""
        if (known := self._final_usage()) is not None:
            return known
        if self._never_ran(error) and not self.reader.tally.tokens:
            return Usage(), "none"
        return self._counted(), "counted"

    def _never_ran(self, error: BaseException | None) -> bool:
        """Return whether the provider surely ran nothing: it refused the call, was not reached, or another
        server's page answered."""
        if self._upstream.surely_ran_nothing:
            return True
        return isinstance(error, UpstreamError) and not isinstance(error, _MAY_HAVE_RUN)

    def _final_usage(self) -> tuple[Usage, str] | None:
        """Return the usage of an answer that ended properly, and its source. It does not change any more,
        and is asked for several times a call."""
        if self._final is not None and not self._is_cut_short:
            return self._final
        reader = self.reader
        if not reader.ended or self._is_cut_short:
            return None
        if reader.meter.own is None and self._is_blocked:  # we left before the report
            return None
        if reader.status == "failed" and reader.meter.own is None:
            return None
        self._final = final_usage(reader, self._metered.input_estimate)
        return self._final

    def _counted(self) -> Usage:
        """Count what passed, when no report can be trusted."""
        written = self.reader.tally.tokens
        return Usage(input_fresh=self._metered.input_estimate, output_visible=written)


async def open_attempt(
    ask: Ask, costs: RequestCosts, transport: Transport, progress: Progress
) -> Attempt:
    """Plan the call and hold what it may cost. Raise BadRequest if the target cannot express it, or
    BudgetExhausted, RateLimited, UnpricedModel, Unavailable; then nothing is held."""
    plan, payload = ask.plan()
    bridge, target = ask.bridge, ask.target
    metered, limit = await costs.open(
        target,
        ask.route,
        ask.call,
        plan.body,
        payload,
        can_limit=bridge.can_limit,
        units=ask.call.may_use,
    )
    try:
        if limit is not None:
            plan, payload = ask.plan(limit)
        headers = bridge.headers(ask.headers)
        if target.forward_trace_context:
            headers |= trace_parts.leg_headers(metered.opened.leg)
        upstream = UpstreamCall(transport, target, bridge.path, payload, headers)
    except BaseException:
        metered.settle(CallEnd("failed", Usage(), "none"))
        raise
    return Attempt(plan, metered, upstream, transport.caps, progress)
