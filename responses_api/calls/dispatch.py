"""Ask the lanes of one call, one after another, until one gives its first output."""

from __future__ import annotations

import asyncio
import contextlib

from msgspec import structs

from gateway_project.lib import clock
from gateway_project.lib.errors import (
    BadRequest,
    GatewayError,
    UpstreamCut,
    UpstreamRejected,
    UpstreamTimeout,
)
from responses_api.accounting.request_costs import RequestCosts
from responses_api.calls import (
    attempt_headers,
    sealed_reasoning,
    shortening,
    targets,
    upstream_errors,
)
from responses_api.calls.admission import Admitted
from responses_api.calls.attempt import Ask, Attempt, open_attempt
from responses_api.calls.lane_choice import MOST_ATTEMPTS, LaneChoice
from responses_api.calls.progress import Phase, Progress
from responses_api.doors.plan import DROPPED_HEADER
from responses_api.doors.registry import BRIDGES
from responses_api.doors.shapes import ModelCall
from responses_api.process.response_writer import ResponseWriter
from responses_api.process.timeouts import Timeouts
from responses_api.stream.upstream_reader import Identity, UpstreamReader
from routing.health.callers import CallerId
from routing.health.passage import Passage
from routing.health.table import LaneTable
from routing.protocols.shared.counting import is_absent
from routing.route import ResolvedTarget
from routing.upstream.transport import Transport, UpstreamResponse

# A response made in the background waits for a lane for so long at most.
BACKGROUND_WAIT_SECONDS = 60.0


class Dispatch:
    """The attempts of one exchange. `attempt` is the latest that was opened for the answer, `_summary` the
    one for the summary it goes on from; those before them are settled and closed. `tried` names the
    targets, each with the error it ended with; `posts` counts what was sent."""

    __slots__ = (
        "_admitted", "_choice", "_costs", "_has_dropped_reasoning", "_identity", "_overdue", "_passage",
        "_progress",
        "_reply", "_shortened",
        "_sign_reader", "_summary", "_table", "_transport", "attempt", "posts", "tried",
    )  # fmt: skip

    def __init__(
        self,
        admitted: Admitted,
        costs: RequestCosts,
        transport: Transport,
        table: LaneTable,
        timeouts: Timeouts,
        identity: Identity,
        reply: ResponseWriter,
        progress: Progress,
    ) -> None:
        """`reply` gets the headers of each attempt."""
        self._admitted = admitted
        self._costs = costs
        self._transport = transport
        self._table = table
        self._identity = identity
        self._reply = reply
        self._progress = progress
        self._choice = _choice(admitted, table, timeouts, progress)
        self._passage: Passage | None = None
        self._sign_reader: UpstreamReader | None = None
        self.attempt: Attempt | None = None
        self._summary: Attempt | None = None
        self._shortened: ModelCall | None = None
        self._has_dropped_reasoning = False
        self._overdue: GatewayError | None = None
        self.tried: list[str] = []
        self.posts = 0

    @property
    def is_shortening(self) -> bool:
        """Return whether a summary of what is too long is being made."""
        return self._summary is not None and not self._summary.is_settled

    @property
    def response_id(self) -> str:
        """Return the id that the client will see."""
        return self._identity.id

    @property
    def speaker(self) -> UpstreamReader | None:
        """Return what can write to the client: the attempt's reader, or while a lane is waited for, one that
        was made for it. None before either."""
        if self.attempt is not None:
            return self.attempt.reader
        lane = self._choice.waiting_for
        if self._sign_reader is None and lane is not None:
            self._reply.headers = {**self._admitted.reply_headers, **self.headers()}
            with contextlib.suppress(
                BadRequest
            ):  # of which the client is told when the lane is asked
                self._sign_reader = self._ask_for(lane, self._admitted.call).plan()[0].reader
        return self._sign_reader

    def headers(self) -> dict[str, str]:
        """Return what the client is told of the attempts."""
        told = {attempt_headers.ATTEMPTS_HEADER: str(self.posts)}
        admitted = self._admitted
        if admitted.caller.shows_upstreams:
            if self.attempt is not None:
                name = self.attempt.target.name
                told[attempt_headers.TARGET_HEADER] = attempt_headers.target_text(name)
            if admitted.tells_routing:
                outcomes = self._choice.outcomes
                told[attempt_headers.ROUTING_HEADER] = attempt_headers.routing_text(outcomes)
        return told

    async def first_output(self) -> tuple[Attempt, bytes]:
        """Return the first attempt that gives output, and that output: a whole answer, or the beginning of
        a stream. Raise the last error of a lane that was asked, or else that of the first that cannot take
        this call."""
        choice = self._choice
        while self.posts < MOST_ATTEMPTS and (passage := await choice.next()) is not None:
            self._passage = passage
            self.tried.append(passage.lane.name)
            try:
                return self._answered(passage, *await self._ask_in_time(passage.lane))
            except GatewayError as error:
                self._note_beginning(error)
                self.tried[-1] = f"{passage.lane.name}: {error.code}"
                self.settle("failed", error, error.code, error.http_status)
                if not choice.may_go_on(passage, error):
                    break
            self.close()
        raise choice.error()

    def _answered(self, passage: Passage, attempt: Attempt, out: bytes) -> tuple[Attempt, bytes]:
        self._choice.answered(
            passage, attempt.waited_seconds if self._admitted.call.stream else None
        )
        if self._admitted.tells_routing:
            self._choice.outcomes.append((passage.lane.name, "ok"))
            self._reply.headers.update(self.headers())
        return attempt, out

    def give_up(self, error: GatewayError) -> bool:
        """Let the attempt that is waited for end with this error, once the task is cancelled. Return whether
        there is one whose answer has not begun."""
        attempt = self.attempt
        if (
            self._passage is None
            or attempt is None
            or attempt.is_settled
            or self._overdue is not None
        ):
            return False
        if attempt.reader.has_output:
            return False
        self._overdue = error
        self._progress.enter(Phase.LANE)
        return True

    async def _ask_in_time(self, lane: ResolvedTarget) -> tuple[Attempt, bytes]:
        """Ask a lane. Raise the error with which the attempt was given up."""
        try:
            return await self._ask(lane)
        except asyncio.CancelledError:
            overdue, self._overdue = self._overdue, None
            task = asyncio.current_task()
            if overdue is None or (task is not None and task.uncancel()):
                raise  # somebody wants the whole call to end
            raise overdue from None

    def _note_beginning(self, error: GatewayError) -> None:
        """Note of an attempt that may have run whether anything of its answer came. Of one that is not
        streamed nothing comes before it is whole."""
        attempt = self.attempt
        if attempt is None or not isinstance(error, UpstreamCut | UpstreamTimeout):
            return
        error.never_began = attempt.is_unheard

    async def _ask(self, lane: ResolvedTarget) -> tuple[Attempt, bytes]:
        if lane.missing_credential:
            raise targets.no_credential(lane)
        admitted = self._admitted
        self._progress.enter(Phase.SHORTENING)
        call = self._shortened or admitted.call
        if self._shortened is None and shortening.may_compact(call, lane):
            call = await shortening.compact(admitted, lane, self._summarise)
            if self._summary is not None:
                self._shortened = call  # another lane needs no summary of its own
        if shortening.may_exceed_window(call, lane):
            call = await shortening.fit_to_window(call, lane)
        try:
            return await self._put(self._ask_for(lane, call))
        except UpstreamRejected as error:
            readable = sealed_reasoning.without(call) if self._is_unreadable(error) else None
            if readable is None:
                raise
            self._settle_attempt("failed", error, error.code, error.http_status)
            self.close()
            self._has_dropped_reasoning = True
            return await self._put(self._ask_for(lane, readable))

    def _is_unreadable(self, error: GatewayError) -> bool:
        """Return whether the call may be sent once more, without reasoning that another account sealed."""
        is_first = not self._has_dropped_reasoning and self.posts < MOST_ATTEMPTS
        return is_first and sealed_reasoning.is_unreadable(error)

    async def _put(self, ask: Ask) -> tuple[Attempt, bytes]:
        """Put the call to a lane, over another of its routes if it lacks the usual one."""
        attempt, response = await self._send(ask)
        if ask.bridge.instead is not None and is_absent(response.status):
            error = await upstream_errors.of_status(response)
            self._settle_attempt("failed", error, error.code, error.http_status)
            self.close()
            self._check_left(1)
            attempt, response = await self._send(structs.replace(ask, bridge=ask.bridge.instead))
        if ask.call.stream:
            return attempt, await attempt.first_output(response)
        return attempt, await attempt.whole(response)

    def _ask_for(self, lane: ResolvedTarget, call: ModelCall) -> Ask:
        admitted = self._admitted
        return Ask(
            route=admitted.door.name,
            bridge=BRIDGES[admitted.door.name, lane.protocol].fitting(call),
            call=call,
            target=lane,
            identity=self._identity,
            headers=admitted.upstream_headers,
            drop_unsupported=admitted.route.drop_unsupported,
        )

    async def _summarise(self, ask: Ask) -> UpstreamReader:
        """Have a summary made, which nobody but us waits for; return what read it."""
        self._check_left(2)  # what it is for is to be sent, too
        progress = Progress(asyncio.get_running_loop())
        self.posts += 1
        self._summary = await open_attempt(ask, self._costs, self._transport, progress)
        await self._summary.whole_for_us()
        return self._summary.reader

    def _check_left(self, count: int) -> None:
        """Raise the error of those before if so many calls cannot be made any more."""
        if self.posts + count > MOST_ATTEMPTS:
            raise self._choice.error()

    async def _send(self, ask: Ask) -> tuple[Attempt, UpstreamResponse]:
        """Send the call to the lane."""
        attempt = await open_attempt(ask, self._costs, self._transport, self._progress)
        self.attempt = attempt
        if (earlier := self._costs.billed) is not None:
            attempt.reader.meter.add(earlier)
        self.posts += 1
        self._reply.headers = {
            **self._admitted.reply_headers,
            **self._admitted.told,
            **attempt.reply_headers,
            **self.headers(),
        }
        if self._has_dropped_reasoning or sealed_reasoning.is_left_behind(ask.call, ask.target):
            dropped = attempt.reply_headers.get(DROPPED_HEADER)
            names = (sealed_reasoning.DROPPED,) if dropped is None else (
                dropped, sealed_reasoning.DROPPED,
            )  # fmt: skip
            self._reply.headers[DROPPED_HEADER] = ", ".join(names)
        response = await attempt.send()
        if self._passage is not None:
            self._passage.read_limits(response.headers, clock.timestamp())
        return attempt, response

    def settle(
        self,
        status: str,
        error: GatewayError | None,
        error_code: str | None,
        http_status: int,
    ) -> None:
        """Settle the running attempts, if there are any, and leave the lane."""
        passage, self._passage = self._passage, None
        if passage is not None and error is not None:
            self._tell_health(passage, error)
        self._settle_attempt(status, error, error_code, http_status)
        if passage is not None:
            used = self.attempt.used_tokens if passage.lane.limits and self.attempt else 0
            passage.leave(used, clock.timestamp() if used else 0.0)

    def _tell_health(self, passage: Passage, error: GatewayError) -> None:
        attempt = self.attempt
        if isinstance(error, UpstreamTimeout) and (
            attempt is None or not attempt.reader.has_output
        ):
            error.is_total = False  # it never began to answer
        self._choice.failed(passage, error)

    def _settle_attempt(
        self,
        status: str,
        error: GatewayError | None,
        error_code: str | None,
        http_status: int,
    ) -> None:
        if self._summary is not None:
            self._summary.settle(status, error, http_status=http_status, error_code=error_code)
        if self.attempt is not None:
            self.attempt.settle(
                status,
                error,
                http_status=http_status,
                error_code=error_code,
                is_first=len(self.tried) == 1,
            )

    def end(self) -> None:
        """Judge the lanes that failed, as no other will be asked."""
        self._choice.end()

    def close(self) -> None:
        for attempt in (self._summary, self.attempt):
            if attempt is not None:
                attempt.close()


def _choice(
    admitted: Admitted, table: LaneTable, timeouts: Timeouts, progress: Progress
) -> LaneChoice:
    call, policy, caller = admitted.call, admitted.route.policy, admitted.caller
    is_background = bool(call.body.get("background"))
    # A pause that the watchdog would cut off hides the error that the last attempt ended with.
    whole = timeouts.total_stream if call.stream else timeouts.total
    commit = min(whole, timeouts.commit if call.stream else timeouts.first_byte)
    return LaneChoice(
        table,
        policy,
        CallerId(caller.tenant_id, caller.key_id),
        admitted.targets,
        progress,
        all_open=admitted.all_open,
        streams=call.stream,
        commit_seconds=timeouts.total_stream if is_background else commit,
        wait_seconds=BACKGROUND_WAIT_SECONDS if is_background else policy.wait_seconds,
        whole_seconds=whole,
    )
