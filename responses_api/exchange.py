"""One admitted call, until it is settled.

    open    try the targets in order until one gives its first output
    relay   forward what comes; decide nothing that was not decided before the first byte
    settle  exactly once, before the terminal event leaves

Everything runs in the task the server made for the request. Whatever ends it from outside (the client
leaving, a time limit, a drain) goes through `interrupt`, which cancels that task once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import orjson

from gateway_project.lib import clock
from gateway_project.lib.aio import hold
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.errors import (
    BadRequest,
    Draining,
    GatewayError,
    Internal,
    UpstreamMalformed,
)
from gateway_project.lib.presence import Presence
from gateway_project.lib.sse import EventTooLarge, Parser
from responses_api import leaving, refusals, shortening, targets
from responses_api.accounting.account import Account
from responses_api.accounting.clamp import clamped
from responses_api.accounting.final_usage import final_usage
from responses_api.accounting.legs import MAY_HAVE_RUN, Leg, never_ran
from responses_api.admission import Admitted
from responses_api.cells import CELLS, Cell
from responses_api.doors.shapes import ModelCall
from responses_api.interruption import Interruption, RunEnded
from responses_api.outcome import Outcome, facts
from responses_api.relay import Identity, Relay
from responses_api.reply import Reply
from responses_api.watchdog import Phase, Watchdog
from routing.counting import is_absent
from routing.route import Target
from routing.transport import Answer
from tenants.token_classes import Usage

if TYPE_CHECKING:
    from responses_api.worker import Worker

logger = logging.getLogger("tollgate.exchange")

MAX_ATTEMPTS = 3
DRAIN_UPSTREAM_SECONDS = 1.0
LAST_WORD_SECONDS = 0.5
# What ends a call without an answer by no fault of its client, although the upstream may have run it.
_NOT_THE_CLIENTS = (*MAY_HAVE_RUN, Draining, Internal)
OUT_OF_BUDGET = "The budget is used up; what was written until then was charged."
_NOT_A_STREAM = frozenset({"application/json", "text/html"})


class Exchange:
    """Made per request. The watchdog reads `phase`, `since`, `last_sent` (event-loop seconds)."""

    __slots__ = (
        "_account", "_admitted", "_answer", "_call", "_door", "_first_output_at", "_heard_at", "_identity",
        "_interruption", "_is_cut_short", "_leg", "_life_sign", "_life_sign_at", "_loop", "_opened_at",
        "_parser", "_provider", "_reading_on", "_relay", "_reply", "_settled", "_task", "_tried", "_worker",
        "last_sent", "phase", "since",
    )  # fmt: skip

    def __init__(
        self, worker: Worker, admitted: Admitted, reply: Reply, identity: Identity | None = None
    ) -> None:
        """`identity` is given where the client knows it already."""
        self._worker = worker
        self._admitted = admitted
        self._account = Account(worker, admitted)
        self._leg: Leg | None = None
        self._is_cut_short = False
        self._door = admitted.door
        self._call = admitted.call
        self._reply = reply
        self._identity = identity or new_identity(admitted)
        self._loop = worker.loop
        self._task: asyncio.Task[None] | None = None
        self._relay: Relay | None = None
        self._answer: Answer | None = None
        self._parser = Parser()
        self._tried: list[str] = []
        self._provider = ""
        self._interruption: Interruption | None = None
        self._reading_on: leaving.ReadingOn | None = None
        self._life_sign: asyncio.Task[None] | None = None
        self._life_sign_at = 0.0
        self._settled = False
        self._opened_at = self._heard_at = clock.monotonic()
        self._first_output_at: float | None = None
        self.phase = Phase.WAITING
        self.since = self.last_sent = self._loop.time()

    # The whole of it

    async def run(self, presence: Presence | None) -> None:
        """Answer the call. Returns normally whatever happened, unless the server cancelled it. Without
        a `presence` nobody can leave."""
        self._task = asyncio.current_task(self._loop)
        self._worker.registry.add(self)
        watchdog = Watchdog(self, self._worker.limits, self._loop)
        if presence is not None:
            presence.watch(self._client_left)
        try:
            if self._interruption is None:
                await self._answer_call()
            else:  # before it began
                await self._end_interrupted()
        except asyncio.CancelledError:
            await self._end_interrupted()
        except RunEnded:
            self._settle("cancelled", Interruption.RUN_ENDED.value)
        except GatewayError as error:
            await self._end_failed(error)
        except Exception:
            logger.exception("exchange failed", extra={"request_id": self.request_id})
            await self._end_failed(Internal())
        finally:
            self.phase = Phase.ENDED
            watchdog.stop()
            if presence is not None:
                presence.unwatch()
            self._close_upstream()
            self._worker.registry.remove(self)

    # Interruptions and signs of life, called by the watchdog, the registry and the client's presence

    def _client_left(self) -> None:
        if not self.survives_client:
            self.interrupt(Interruption.CLIENT_GONE)

    def interrupt(self, why: Interruption) -> None:
        """End the exchange from outside; only the first reason counts, and none once the answer is whole:
        what is being stored as completed must not be told to have failed."""
        if self._reading_on is not None and not why.is_clients_doing:
            self._reading_on.stop()
        over = self._settled or self.phase is Phase.STORING
        if self._interruption is None and not over:
            self._interruption = why
            if self._task is not None:
                self._task.cancel()

    @property
    def request_id(self) -> str:
        return self._admitted.request_id

    @property
    def streams(self) -> bool:
        return self._call.stream

    @property
    def has_started(self) -> bool:
        """Whether the client has seen the headers of a stream."""
        return self._reply.started

    @property
    def survives_client(self) -> bool:
        """Whether the answer is wanted even if its client leaves or takes nothing."""
        return self._reply.survives_client

    def show_life(self) -> None:
        """Send a keep-alive; before there is any output, send the headers and open the stream."""
        if self._relay is not None and self._life_sign is None:
            self._life_sign_at = self.last_sent = self._loop.time()
            # Made now: by the time it is sent, another attempt may have taken over.
            sign = self._relay.keepalive() if self._reply.started else self._relay.announce()
            self._life_sign = hold(self._send_life_sign(sign), "keep-alive")

    def life_sign_stuck_for(self, now: float) -> float:
        return now - self._life_sign_at if self._life_sign is not None else 0.0

    async def _send_life_sign(self, sign: bytes) -> None:
        try:
            if not self._reply.started:
                await self._reply.start_stream(closing=self._worker.registry.draining)
            await self._reply.send(sign, more=True)
        finally:
            self._life_sign = None

    async def _life_sign_sent(self) -> None:
        """Headers and opening event go out as a pair; nothing may come between them."""
        if self._life_sign is not None:
            await asyncio.wait([self._life_sign])

    # Open

    async def _answer_call(self) -> None:
        first = await self._open(self._admitted.targets[:MAX_ATTEMPTS])
        if self.streams:
            await self._relay_stream(first)
        else:
            await self._settle_relayed_leg()
            first = await self._kept(first)
            self._settle_relayed()
            await self._reply.json(200, first, self._reply.headers)

    async def _open(self, candidates: tuple[Target, ...]) -> bytes:
        """The first output of the first target that gives any.

        Raises the last error of a target that was asked, else that of the first that cannot be asked this.
        """
        failure: GatewayError | None = None
        for target in candidates:
            try:
                return await self._attempt(target)
            except BadRequest as error:  # ours: nothing was sent
                failure = failure or error
            except GatewayError as error:
                if not error.another_target_may_do:
                    raise
                failure = error
            self._close_upstream()
        assert failure is not None
        raise failure

    async def _attempt(self, target: Target) -> bytes:
        self._tried.append(target.name)
        self._provider = target.provider
        self._leg = None
        try:
            return await self._first_output(target)
        except GatewayError as error:
            self._tried[-1] = f"{target.name}: {error.code}"
            self._settle_leg("failed", error)
            raise

    async def _first_output(self, target: Target) -> bytes:
        """Send the call; a whole JSON answer, or the stream up to its first output."""
        if target.missing_credential:
            raise targets.no_credential(target)
        cell = CELLS[self._door.name, target.protocol]
        call, spent = await self._shortened(target)
        answer, relay = await self._asked(cell, call, target)
        if cell.instead is not None and is_absent(answer.status):
            self._settle_leg("failed", await refusals.of_status(answer))
            answer.close()
            answer, relay = await self._asked(cell.instead, call, target)
        if spent is not None:
            relay.meter.add(spent)
        if answer.status != 200:
            raise await refusals.of_status(answer)
        if not self.streams:
            raw = await answer.body()
            self._heard_at = clock.monotonic()
            return relay.body(raw)
        if answer.content_type in _NOT_A_STREAM:
            raise await refusals.no_stream(answer)
        self._parser = Parser(caps=self._worker.transport.caps)
        out = b""
        while not relay.has_output:
            out = await self._pull(answer, relay)
            if relay.failure is not None and not relay.has_output:
                raise relay.failure
        self._first_output_at = clock.monotonic()
        return out

    async def _shortened(self, target: Target) -> tuple[ModelCall, Usage | None]:
        """The call as it fits the target, and what a summary of its conversation cost."""
        self._enter(Phase.SHORTENING)
        call, spent = await shortening.compacted(
            self._worker, self._account, self._admitted, self._call, target
        )
        return await shortening.fitted(call, target), spent

    async def _asked(self, cell: Cell, call: ModelCall, target: Target) -> tuple[Answer, Relay]:
        """Put the call to the target; its answer, whose headers are there, and what reads it."""
        drop_unsupported = self._admitted.route.drop_unsupported
        leg = cell.open(call, target, self._identity, drop_unsupported=drop_unsupported)
        payload = _serialised(leg.body)
        self._leg, limit = await self._account.open(
            target, self._door.name, call, leg.body, payload, can_limit=cell.can_limit
        )
        if limit is not None:
            call = clamped(call, limit)
            leg = cell.open(call, target, self._identity, drop_unsupported=drop_unsupported)
            payload = _serialised(leg.body)
        self._relay = leg.relay
        self._reply.headers = {**self._admitted.ticket.headers, **leg.reply_headers}
        self._enter(Phase.WAITING)
        self._leg.sent_at = clock.monotonic()
        self._answer = answer = await self._worker.transport.post(
            target, cell.path, payload, cell.headers(self._admitted.upstream_headers)
        )
        self._enter(Phase.STREAMING)
        return answer, leg.relay

    # Relay

    async def _pull(self, answer: Answer, relay: Relay) -> bytes:
        """Wait for the upstream's next bytes and give what they become; possibly nothing."""
        chunk = await answer.chunk()
        self._heard_at = clock.monotonic()
        try:
            frames = self._parser.feed(chunk) if chunk else self._parser.finish()
        except EventTooLarge as error:
            raise UpstreamMalformed(f"{answer.target.provider!r}: {error}") from error
        if not chunk:
            return relay.forward(frames) if frames else relay.finish()
        if not frames:
            return b""
        self.since = self._loop.time()  # comments and torn events do not count as a sign of life
        out = relay.forward(frames)
        assert self._leg is not None
        self._leg.note(relay.tally.tokens, self._ttft_ms())
        return out

    async def _relay_stream(self, out: bytes) -> None:
        relay, answer = self._relay, self._answer
        assert relay is not None
        assert answer is not None
        await self._life_sign_sent()
        if not self._reply.started:
            await self._reply.start_stream(closing=self._worker.registry.draining)
        while not relay.ended:
            if out:
                if not await self._is_covered(relay):
                    self._is_cut_short = True
                    out = relay.cut_short(self._counted(), OUT_OF_BUDGET)
                    self._close_upstream()
                    break
                await self._send(out)
            if relay.failure is not None:
                raise relay.failure
            out = await self._pull(answer, relay)
        if self._admitted.keeper is not None and len(out) > len(relay.closing):
            await self._send(out.removesuffix(relay.closing))  # storing need not hold this back
            out = relay.closing
        await self._settle_relayed_leg()
        out = await self._kept(out)
        self._settle_relayed()
        await self._reply.send(out, more=False)
        if self._answer is not None:
            await answer.drain(DRAIN_UPSTREAM_SECONDS)

    async def _send(self, out: bytes) -> None:
        """Pull model: while the client does not take this, nothing more is read from the upstream."""
        self._enter(Phase.SENDING)
        await self._reply.send(out, more=True)
        self._enter(Phase.STREAMING)
        self.last_sent = self.since

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since = self._loop.time()

    # Keep

    async def _kept(self, out: bytes) -> bytes:
        """`out`, which ends the answer, once the answer is stored; it says so if it could not be."""
        keeper, relay = self._admitted.keeper, self._relay
        assert relay is not None
        if keeper is None or (answer := relay.answer()) is None:
            return out
        self._enter(Phase.STORING)
        try:
            await keeper.keep(answer, self._provider, out)
        except StoreUnavailable as error:
            logger.error("not stored: %s", error, extra={"request_id": self.request_id})
            return out.removesuffix(relay.closing) + relay.unkept()
        return out

    def _keep_abandoned(self) -> None:
        """A stream whose client left is kept as cancelled, as far as it was finished."""
        keeper, relay = self._admitted.keeper, self._relay
        if keeper is None or relay is None or not (self._reply.started and self._door.ends_whole):
            return
        closing = relay.closing if relay.ended else relay.failed(Interruption.CANCELLED.error())
        answer = {**(relay.answer() or {}), "status": "cancelled", "error": None}
        hold(_quietly(keeper.keep(answer, self._provider, closing)), "keep-abandoned")

    # End

    async def _end_interrupted(self) -> None:
        why = self._interruption
        if why is None:
            self._settle("cancelled", None)
            raise asyncio.CancelledError
        if self._task is not None:
            self._task.uncancel()
        if why is Interruption.RUN_ENDED:
            self._settle("cancelled", why.value)
            return
        if why.is_clients_doing and not self.survives_client:
            try:
                await self._hear_out()
            finally:
                self._settle("client_gone", why.value)
                self._keep_abandoned()
            return
        await self._end_failed(why.error())

    async def _hear_out(self) -> None:
        """Wait for the report of an answer whose client has left, and hold what it costs."""
        self._enter(Phase.ENDED)  # nobody is left to wait for, or to be shown a sign of life
        relay, answer = self._relay, self._answer
        if relay is not None and answer is not None and leaving.may_report(relay):
            self._reading_on = leaving.ReadingOn(relay, lambda: self._pull(answer, relay))
            await self._reading_on.ended()
            self._close_upstream()
        await self._fund()

    async def _end_failed(self, error: GatewayError) -> None:
        """Exactly one terminal event if the stream has begun, an HTTP error otherwise."""
        if self._settled:
            return  # the client has its terminal event; what failed came after it
        self._settle("failed", error.code, error.http_status, error)
        self._close_upstream()
        out = await self._last_word(error)
        try:
            async with asyncio.timeout(LAST_WORD_SECONDS):
                await self._send_last_word(error, out)
        except TimeoutError:
            logger.info("client took no last word", extra={"request_id": self.request_id})

    async def _last_word(self, error: GatewayError) -> bytes:
        """The end of a stream that has begun, once it is stored; nothing before that."""
        if not self._reply.started and self._life_sign is None:
            return b""
        assert self._relay is not None
        out = self._relay.failed(error)
        return await self._kept(out) if self._door.ends_whole else out

    async def _send_last_word(self, error: GatewayError, out: bytes) -> None:
        await self._life_sign_sent()
        if not self._reply.started:
            await self._reply.error(error)
            return
        # Where the error is not a proper end, the connection is left to be cut: a body that ends
        # cleanly would look complete to a client that reads bytes (docs/wire.md 8.6).
        await self._reply.send(out, more=not self._door.ends_whole)

    def _close_upstream(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    # Settle

    async def _settle_relayed_leg(self) -> None:
        """In the books before the answer is stored: whoever polls or retries sees its end from there on."""
        assert self._relay is not None
        if self._admitted.ownership is not None:
            await self._admitted.ownership.prove()
        await self._fund()
        self._settle_leg(self._relay.status, None, None, 200)
        await self._worker.books.durable()

    def _settle_relayed(self) -> None:
        assert self._relay is not None
        self._settle(self._relay.status, None, 200)

    def _settle(
        self,
        status: str,
        error_code: str | None,
        http_status: int = 0,
        error: GatewayError | None = None,
    ) -> None:
        """Once, without awaiting, so that no cancellation can come between."""
        if self._settled:
            return
        self._settled = True
        self._settle_leg(status, error, error_code, http_status)
        outcome = self._outcome(status, error_code, 200 if self._reply.started else http_status)
        admitted = self._admitted
        admitted.ticket.settle(self._account.used_tokens)
        self._worker.record(facts(admitted, admitted.route), outcome)

    def _outcome(self, status: str, error_code: str | None, http_status: int) -> Outcome:
        relay = self._relay
        usage, usage_source = self._usage()
        return Outcome(
            status=status,
            http_status=http_status,
            error_code=error_code,
            usage=usage,
            usage_source=usage_source,
            ttft_ms=self._ttft_ms(),
            duration_ms=(clock.monotonic() - self._opened_at) * 1000,
            targets=tuple(self._tried),
            frames=relay.frames_forwarded if relay else 0,
            frames_dropped=relay.frames_dropped if relay else 0,
        )

    def _usage(self) -> tuple[Usage | None, str]:
        """The provider's report if the answer ended as it should; otherwise what we saw pass."""
        relay = self._relay
        if relay is None or not relay.has_output:
            return None, "none"
        if (known := self._final_usage()) is None:
            return self._counted(), "counted"
        usage, source = known
        return relay.meter.with_earlier(usage), source

    # Account

    def _ttft_ms(self) -> int | None:
        first = self._first_output_at
        return None if first is None else int((first - self._opened_at) * 1000)

    async def _is_covered(self, relay: Relay) -> bool:
        """Whether the budgets pay for what is about to be forwarded. What an upstream that keeps to its limit
        may write is held already: only what is surely beyond it needs more."""
        leg = self._leg
        assert leg is not None
        if not leg.is_limited or leg.covers(relay.tally.at_least):
            return True
        return await leg.cover(relay.tally.at_least)

    async def _fund(self) -> None:
        """Hold what the answer costs by its provider's report, before it is settled."""
        leg, relay, known = self._leg, self._relay, self._final_usage()
        if leg is not None and relay is not None and known is not None and not leg.settled:
            await leg.fund(known[0], relay.service_tier)

    def _final_usage(self) -> tuple[Usage, str] | None:
        """The usage of an answer that ended as it should, and where it is from."""
        leg, relay = self._leg, self._relay
        if leg is None or relay is None or not relay.ended or self._is_cut_short:
            return None
        if relay.status == "failed" and relay.meter.own is None:
            return None
        return final_usage(relay, leg.input_estimate)

    def _counted(self) -> Usage:
        """What passed by, where no report can be trusted."""
        assert self._leg is not None
        written = self._relay.tally.tokens if self._relay is not None else 0
        return Usage(input_fresh=self._leg.input_estimate, output_visible=written)

    def _settle_leg(
        self,
        status: str,
        error: GatewayError | None,
        error_code: str | None = None,
        http_status: int = 0,
    ) -> None:
        leg, relay = self._leg, self._relay
        if leg is None or leg.settled:
            return
        usage, source = self._usage_of_leg(error)
        now = clock.monotonic()
        before = leg.sent_at - self._opened_at if len(self._tried) == 1 else 0.0
        leg.settle(
            status=status,
            usage=usage,
            usage_source=source,
            http_status=http_status or (error.http_status if error is not None else 0),
            error_code=error_code or (error.code if error is not None else None),
            service_tier=relay.service_tier if relay is not None else None,
            ttft_ms=self._ttft_ms(),
            overhead_seconds=before + max(now - max(self._heard_at, leg.sent_at), 0.0),
            is_unanswered=source != "provider" and self._is_unanswered(error),
        )

    def _is_unanswered(self, error: GatewayError | None) -> bool:
        """Whether nothing of an answer came, by no fault of the client."""
        assert self._relay is not None
        return isinstance(error, _NOT_THE_CLIENTS) and not self._relay.tally.tokens

    def _usage_of_leg(self, error: GatewayError | None) -> tuple[Usage, str]:
        """The provider's report of an answer that ended as it should; else what was seen, if anything can
        have been used at all."""
        relay = self._relay
        assert relay is not None
        if (known := self._final_usage()) is not None:
            return known
        if never_ran(error, self._answer) and not relay.tally.tokens:
            return Usage(), "none"
        return self._counted(), "counted"


def new_identity(admitted: Admitted) -> Identity:
    """What the client of a call that begins now will see of it."""
    made = admitted.door.new_id(), admitted.call.model, int(clock.timestamp())
    return Identity(*made, admitted.echo)


async def _quietly(keeping: Awaitable[None]) -> None:
    try:
        await keeping
    except StoreUnavailable as error:
        logger.error("not stored: %s", error)


def _serialised(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:  # orjson reads JSON nested deeper than it writes
        raise BadRequest("The body is nested too deep.") from None
