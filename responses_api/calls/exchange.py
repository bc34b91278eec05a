"""Run one admitted call as its client sees it, until it is settled.

answer   the first output of the first target that gives any (dispatch.py), then what follows it;
         nothing is decided that was not decided before the first byte
store    save the answer before its end is sent
settle   exactly once, before the terminal event is sent

Everything runs in the task the server made for the request. Whatever ends it from outside (the client
leaving, a time limit, a drain) goes through `interrupt`, which cancels that task once. The upstream's side is
the business of an Attempt (attempt.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from gateway_project.lib import clock
from gateway_project.lib.aio import hold
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.errors import GatewayError, Internal
from gateway_project.lib.presence import Presence
from responses_api.accounting.request_costs import RequestCosts
from responses_api.calls import leaving, trace_parts
from responses_api.calls.admission import Admitted
from responses_api.calls.attempt import Attempt
from responses_api.calls.dispatch import Dispatch
from responses_api.calls.ending import end_request
from responses_api.calls.life_signs import LifeSigns
from responses_api.calls.outcome import Outcome
from responses_api.calls.progress import Phase, Progress
from responses_api.calls.refusals import write_refusal
from responses_api.calls.watchdog import Watchdog
from responses_api.process.interruption import Interruption, RunEnded
from responses_api.process.response_writer import ResponseWriter
from responses_api.process.running_call import CallPhase, Channel, RunningCall, StoppedCall
from responses_api.services import Services
from responses_api.stream.upstream_reader import Identity, UpstreamReader
from routing.protocols.shared.envelope import NOBODY, Maker

logger = logging.getLogger("tollgate.exchange")

DRAIN_UPSTREAM_SECONDS = 1.0
LAST_WORD_SECONDS = 0.5
# A client that has taken nothing for so long is said to hold its stream up.
STALLED_SECONDS = 1.0
OUT_OF_BUDGET = "The budget is exhausted; the output up to this point was charged."


class Exchange:
    """The exchange of one request."""

    __slots__ = (
        "_admitted", "_beside", "_bytes_out", "_costs", "_dispatch", "_interruption", "_is_settled",
        "_life_signs", "_reading_on", "_reply", "_services", "_task", "progress", "request_id", "streams",
    )  # fmt: skip

    def __init__(
        self,
        services: Services,
        admitted: Admitted,
        reply: ResponseWriter,
        identity: Identity | None = None,
    ) -> None:
        """`identity` is given if the client knows it already."""
        self._services = services
        self._admitted = admitted
        self._reply = reply
        self.request_id = admitted.request_id
        self.streams = admitted.call.stream
        self.progress = Progress(services.loop)
        self._costs = RequestCosts(
            services.spool_writer,
            services.budgets,
            request_id=admitted.request_id,
            caller=admitted.caller,
            route=admitted.route,
            websocket=admitted.socket is not None,
            ownership=admitted.ownership,
            guardrails=None if admitted.guarded is None else admitted.guarded.guardrails,
            cache_outcome="" if admitted.keeper is None else admitted.keeper.outcome,
        )
        self._dispatch = Dispatch(
            admitted,
            self._costs,
            services.transport,
            services.lane_health,
            services.timeouts,
            identity or new_identity(admitted),
            reply,
            self.progress,
        )
        self._life_signs = LifeSigns(reply, services.registry)
        self._beside = None if admitted.guarded is None else admitted.guarded.beside
        self._task: asyncio.Task[None] | None = None
        self._interruption: Interruption | None = None
        self._reading_on: leaving.TrailingRead | None = None
        self._is_settled = False
        self._bytes_out = 0  # of the answer, without what shows life

    # The whole of it

    async def run(self, presence: Presence | None) -> None:
        """Answer the call. Return normally whatever happened, unless the server cancelled the task.
        Without a `presence` nobody can leave."""
        services = self._services
        self._task = asyncio.current_task(services.loop)
        services.registry.add(self)
        watchdog = Watchdog(self, services.timeouts, services.rounds)
        if presence is not None:
            presence.watch(self._client_left)
        try:
            if self._interruption is None:
                if self._beside is not None:
                    self._beside.start(self._refused_beside)
                await self._answer()
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
            self.progress.phase = Phase.ENDED
            watchdog.stop()
            if self._beside is not None:
                self._beside.stop()
            if presence is not None:
                presence.unwatch()
            self._dispatch.close()
            services.registry.remove(self)

    # Called by the watchdog, the registry and the client's presence

    def _client_left(self) -> None:
        if not self.survives_client:
            self.interrupt(Interruption.CLIENT_GONE)

    def _refused_beside(self) -> None:
        self.interrupt(Interruption.GUARDRAIL)

    def interrupt(self, why: Interruption) -> None:
        """End the exchange from outside. Only the first reason counts, and none once the answer is whole:
        an answer being stored as completed must not be reported as failed."""
        if self._reading_on is not None and not why.is_clients_doing:
            self._reading_on.stop()
        over = self._is_settled or self.progress.phase is Phase.STORING
        if self._interruption is None and not over:
            self._interruption = why
            if self._task is not None:
                self._task.cancel()

    def give_up_attempt(self, why: Interruption) -> bool:
        """End the attempt whose upstream does not begin to answer, so that another lane may be asked. Return
        whether there is one."""
        if self._interruption is not None or self._task is None or self._is_settled:
            return False
        error = why.error()
        if not self._dispatch.give_up(error):
            return False
        self._task.cancel()
        return True

    @property
    def tenant_id(self) -> int:
        return self._admitted.caller.tenant_id

    def describe(self) -> RunningCall:
        """Describe the call to somebody who asks what is running."""
        admitted, dispatch = self._admitted, self._dispatch
        attempt, channel = dispatch.attempt, self.channel
        return RunningCall(
            request_id=admitted.request_id,
            tenant_id=admitted.caller.tenant_id,
            tenant=admitted.caller.tenant_slug,
            key=admitted.caller.key_public_id,
            route=admitted.door.name,
            alias=admitted.route.alias,
            target="" if attempt is None else attempt.target.name,
            attempt=len(dispatch.tried),
            phase=self._call_phase(),
            channel=channel,
            elapsed_ms=int((clock.monotonic() - self.progress.opened_at) * 1000),
            tokens=0 if attempt is None else attempt.reader.tally.tokens,
            held_nano=self._costs.held_nano,
            response_id=dispatch.response_id if channel == "background" else "",
        )

    @property
    def channel(self) -> Channel:
        """Return how its client waits for it."""
        if self._admitted.call.body.get("background"):
            return "background"
        if self._admitted.socket is not None:
            return "socket"
        return "stream" if self.streams else "request"

    def _call_phase(self) -> CallPhase:
        progress = self.progress
        match progress.phase:
            case Phase.SHORTENING:
                return "shortening" if self._dispatch.is_shortening else "preparing"
            case Phase.STORING:
                return "storing"
            case Phase.ENDED:
                return "ending"
            case Phase.LANE:
                return "waiting"
        if self._dispatch.attempt is None:
            return "preparing"
        if progress.first_output_at is None:
            return "waiting"
        is_sending = progress.phase is Phase.SENDING
        return (
            "stalled"
            if is_sending and progress.time() - progress.since > STALLED_SECONDS
            else "streaming"
        )

    def stopped(self, began_at: float) -> StoppedCall | None:
        """Return how the call ended, since it was asked to stop at this monotonic time."""
        if not self._is_settled:
            return None
        return StoppedCall(
            was_running=self._interruption is not None,
            after_ms=max(int((clock.monotonic() - began_at) * 1000), 0),
            tokens=self._costs.used_tokens,
            charge_nano=self._costs.charge_nano,
        )

    @property
    def has_started(self) -> bool:
        """Return whether the client has seen the headers of a stream."""
        return self._reply.started

    @property
    def survives_client(self) -> bool:
        """Return whether the answer is wanted even if its client leaves or takes nothing."""
        return self._reply.survives_client

    def show_life(self) -> None:
        """Send the client a keep-alive, unless one is being sent or no upstream was asked yet."""
        reader = None if self._life_signs.is_sending else self._dispatch.speaker
        if reader is not None:
            now = self.progress.last_sent = self._services.loop.time()
            self._life_signs.show(reader, now)

    def life_sign_stuck_for(self, now: float) -> float:
        return self._life_signs.stuck_for(now)

    # Answer

    async def _answer(self) -> None:
        if self.streams:  # named nowhere, so that the first piece is let go once it is sent
            await self._relay_stream(*await self._first_output())
        else:
            attempt, whole = await self._first_output()
            self._remember_lane(attempt)
            out = await self._finish(attempt, whole)
            await self._reply.json(200, out, self._reply.headers)

    async def _first_output(self) -> tuple[Attempt, bytes]:
        """Return the first output, once every guardrail that runs beside the call has let it pass."""
        found = await self._dispatch.first_output()
        if self._beside is not None:
            await self._beside.wait()
        guarded = self._admitted.guarded
        if guarded is not None:
            self._reply.headers.update(guarded.guardrails.headers())
        return found

    def _remember_lane(self, attempt: Attempt) -> None:
        """Note which lane gave output, for calls that begin as this one does."""
        facts = self._admitted.facts
        if facts.affinity:
            lane, tokens = attempt.target.lane_id, facts.input_tokens or 0
            self._services.affinity.remember(facts.affinity, lane, tokens, clock.monotonic())

    async def _relay_stream(self, attempt: Attempt, out: bytes) -> None:
        reader = attempt.reader
        self._remember_lane(attempt)
        await self._life_signs.wait_until_sent()
        self.progress.enter(Phase.SENDING)  # no sign of life comes between headers and first event
        if not self._reply.started:
            await self._reply.start_stream(closing=self._services.registry.draining)
        while not reader.ended:
            if out:
                if not (attempt.is_covered() or await attempt.cover()):
                    out = attempt.cut_short(OUT_OF_BUDGET)
                    break
                await self._send(out)
            if reader.failure is not None:
                raise reader.failure
            out = await attempt.pull()
        if self._admitted.store is not None and len(out) > len(reader.closing):
            await self._send(
                out.removesuffix(reader.closing)
            )  # this need not wait until the answer is stored
            out = reader.closing
        out = await self._finish(attempt, out)
        await self._life_signs.wait_until_sent()
        await self._reply.send(out, more=False)
        await attempt.drain(DRAIN_UPSTREAM_SECONDS)

    async def _send(self, out: bytes) -> None:
        """Send a piece. Pull model: nothing more is read from the upstream until the client takes it."""
        progress = self.progress
        progress.enter(Phase.SENDING)
        self._bytes_out += len(out)
        if self._life_signs.is_sending:  # it has the number of the event before this one
            await self._life_signs.wait_until_sent()
        await self._reply.send(out, more=True)
        progress.enter(Phase.STREAMING)
        progress.last_sent = progress.since

    async def _finish(self, attempt: Attempt, out: bytes) -> bytes:
        """Settle and store the answer that ends with `out`; return its end as the client gets it. It is in
        the ledger before it is stored, because a client that polls or retries sees its end from then on."""
        if self._admitted.ownership is not None:
            await self._admitted.ownership.prove()
        if attempt.is_held:
            await attempt.fund()
        status, end_code = attempt.reader.status, attempt.end_code
        trace_parts.note_answered()
        self._dispatch.settle(status, None, end_code, 200)
        self._costs.end()
        # In the ledger it has ended well: nothing may end it otherwise, while that is made durable either.
        self.progress.phase = Phase.STORING
        spool_writer = self._services.spool_writer
        if spool_writer.waits_for_disk:
            await spool_writer.durable()
        if (keeper := self._admitted.keeper) is not None:
            guarded = self._admitted.guarded
            keeper.keep(attempt, None if guarded is None else guarded.guardrails)
        if not self.streams:  # also for later requests, which get the stored answer
            self._reply.headers.update(self._costs.charge_headers())
        reader = attempt.reader
        out = self._with_usage(reader, out)
        if self._admitted.store is not None:
            out = await self._store_answer(reader, Maker.of(attempt.target), out)
        self._bytes_out += len(out)
        self._conclude(status, end_code, 200)
        return out

    def _with_usage(self, reader: UpstreamReader, out: bytes) -> bytes:
        """Return `out`, which ends the answer of settled calls, with a `usage` of all the client pays for,
        and the charge if the client asked for it."""
        charge = self._costs.answer_charge(tells_cost=bool(self._admitted.call.tells_cost))
        if charge is None:
            return out
        return out.removesuffix(reader.closing) + reader.tell_usage(charge)

    # Store

    async def _store_answer(self, reader: UpstreamReader, maker: Maker, out: bytes) -> bytes:
        """Store the answer and return `out`, which ends it; it says so if storing failed."""
        store = self._admitted.store
        if store is None or (answer := reader.answer()) is None:
            return out
        self.progress.phase = Phase.STORING
        try:
            await store.save(answer, maker, out)
        except StoreUnavailable as error:
            logger.error("not stored: %s", error, extra={"request_id": self.request_id})
            return out.removesuffix(reader.closing) + reader.closing_unstored()
        return out

    def _store_abandoned(self) -> None:
        """Store a stream whose client left as cancelled, as far as it was finished."""
        store, attempt = self._admitted.store, self._dispatch.attempt
        if store is None or attempt is None:
            return
        if not (self._reply.started and self._admitted.door.ends_whole):
            return
        reader = attempt.reader
        closing = reader.closing if reader.ended else reader.failed(Interruption.CANCELLED.error())
        closing = self._with_usage(reader, closing)
        answer = {**(reader.answer() or {}), "status": "cancelled", "error": None}
        hold(_log_failure(store.save(answer, Maker.of(attempt.target), closing)), "keep-abandoned")

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
                await self._await_report()
            finally:
                self._settle("client_gone", why.value)
                self._store_abandoned()
            return
        status = "cancelled" if why is Interruption.CANCELLED else "failed"
        refusal = self._beside.refusal if self._beside is not None else None
        is_refused = why is Interruption.GUARDRAIL and refusal is not None
        await self._end_failed(refusal if is_refused and refusal else why.error(), status)

    async def _await_report(self) -> None:
        """Wait for the report of an answer whose client has left, and hold what it costs."""
        # No client is left to wait for, or to show a sign of life to.
        self.progress.enter(Phase.ENDED)
        attempt = self._dispatch.attempt
        if attempt is None:
            return
        if attempt.may_report:
            self._reading_on = leaving.TrailingRead(attempt)
            await self._reading_on.wait()
            attempt.close()
        await attempt.fund()

    async def _end_failed(self, error: GatewayError, status: str = "") -> None:
        """Send exactly one terminal event if the stream has begun, otherwise an HTTP error.

        Without a `status` it is refused if nothing was sent and neither we nor an upstream have failed: for a
        budget, a price, a parameter.
        """
        if self._is_settled:
            return  # the client has its terminal event; what failed came after it
        self.progress.enter(Phase.ENDED)  # no sign of life may come before the last word any more
        is_unsent = not self._costs.has_calls  # so that no row of the ledger tells of it
        if not status:
            status = "refused" if is_unsent and error.http_status < 500 else "failed"
        self._settle(status, error.code, error.http_status, error)
        if is_unsent:
            write_refusal(self._services, self._admitted, error)
        told_of_guardrails = self._admitted.guardrail_headers
        error.told = {
            **told_of_guardrails,
            **self._costs.charge_headers(),
            **self._dispatch.headers(),
        }
        self._dispatch.close()
        out = await self._last_word(error)
        try:
            async with asyncio.timeout(LAST_WORD_SECONDS):
                await self._send_last_word(error, out)
        except TimeoutError:
            logger.info(
                "the client did not take the end of its answer",
                extra={"request_id": self.request_id},
            )

    async def _last_word(self, error: GatewayError) -> bytes:
        """Return the end of a stream that has begun, once it is stored; nothing if no stream has begun."""
        has_begun = self._reply.started or self._life_signs.is_sending
        reader = self._dispatch.speaker if has_begun else None
        if reader is None:
            return b""
        out = reader.failed(error)
        if not self._admitted.door.ends_whole:
            return out
        attempt = self._dispatch.attempt
        maker = NOBODY if attempt is None else Maker.of(attempt.target)
        return await self._store_answer(reader, maker, self._with_usage(reader, out))

    async def _send_last_word(self, error: GatewayError, out: bytes) -> None:
        await self._life_signs.wait_until_sent()
        if not self._reply.started:
            await self._reply.error(error)
            return
        # If the error is not a proper end, the connection is left to be cut: a body that ends
        # cleanly would look complete to a client that reads bytes (docs/wire.md 8.6).
        await self._reply.send(out, more=not self._admitted.door.ends_whole)

    # Settle

    def _settle(
        self,
        status: str,
        error_code: str | None,
        http_status: int = 0,
        error: GatewayError | None = None,
    ) -> None:
        """Settle once, without awaiting, so that no cancellation can come between."""
        if self._is_settled:
            return
        self._is_settled = True
        self._dispatch.settle(status, error, error_code, http_status)
        self._dispatch.end()
        self._costs.end()
        self._conclude(status, error_code, http_status, error)

    def _conclude(
        self,
        status: str,
        error_code: str | None,
        http_status: int,
        error: GatewayError | None = None,
    ) -> None:
        """Log and count the request, whose calls are settled."""
        self._is_settled = True
        outcome = self._outcome(status, error_code, 200 if self._reply.started else http_status)
        admitted = self._admitted
        if not admitted.ticket.is_settled:
            admitted.ticket.settle(self._costs.used_tokens, self._costs.used_units)
        end_request(self._services, admitted, outcome, error, self._costs.calls)

    def _outcome(self, status: str, error_code: str | None, http_status: int) -> Outcome:
        attempt, progress = self._dispatch.attempt, self.progress
        usage, usage_source = (None, "none") if attempt is None else attempt.seen()
        return Outcome(
            status=status,
            http_status=http_status,
            error_code=error_code,
            usage=usage,
            usage_source=usage_source,
            ttft_ms=progress.ttft_ms,
            duration_ms=(clock.monotonic() - progress.opened_at) * 1000,
            targets=tuple(self._dispatch.tried),
            frames=attempt.reader.frames_forwarded if attempt is not None else 0,
            frames_dropped=attempt.reader.frames_dropped if attempt is not None else 0,
            bytes_out=self._bytes_out,
        )


def new_identity(admitted: Admitted) -> Identity:
    """Return the id, model and time that the client of a call beginning now will see."""
    made = admitted.door.new_id(), admitted.call.model, int(clock.timestamp())
    return Identity(*made, admitted.echo)


async def _log_failure(saving: Awaitable[None]) -> None:
    try:
        await saving
    except StoreUnavailable as error:
        logger.error("not stored: %s", error)
