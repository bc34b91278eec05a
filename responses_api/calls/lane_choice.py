"""Choose the lanes of one call, one after another: first by its plan, then by how the others failed.

* At most `max_attempts` lanes are asked.
* A lane is asked again only if it is the only one, and was not reached or says it is busy.
* No pause before the same lane is asked again lasts longer than a client waits for the beginning of its
  answer; after that another lane may still answer, while the client is shown that its call goes on.
* A second attempt at the same provider is taken from that provider's retry budget.
* If the circuits of all lanes are open, a short pause is waited for; then a lane that failed is asked all
  the same, by a few calls at once. Those that asked to be left alone are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway_project.lib import clock
from gateway_project.lib.errors import (
    BadRequest,
    GatewayError,
    UpstreamAuthFailed,
    UpstreamModelMissing,
    UpstreamOverloaded,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
)
from responses_api.calls import fallback
from responses_api.calls.progress import Phase, Progress
from routing.health.callers import CallerId
from routing.health.passage import Passage
from routing.health.table import LaneTable
from routing.policy.lane_health import LaneHealth
from routing.route import FallBack, ResolvedTarget, RoutingPolicy

MOST_ATTEMPTS = 3
# While somebody else finds out whether a lane works again.
LOOK_SECONDS = 0.25

_REFUSALS: dict[str, type[GatewayError]] = {
    error.code: error
    for error in (
        UpstreamRateLimited, UpstreamQuotaExhausted, UpstreamAuthFailed, UpstreamModelMissing,
    )
}  # fmt: skip

_WHY: dict[type[GatewayError], str] = {
    UpstreamRateLimited: "; the one that is free soonest limits the rate",
    UpstreamQuotaExhausted: "; the one that is free soonest has used up its quota",
    UpstreamAuthFailed: "; the one that is free soonest refuses the gateway's credential",
    UpstreamModelMissing: "; the one that is free soonest does not know the model",
}


class LaneChoice:
    """The lanes of one call. `outcomes` names those that were asked or passed over, in order, each with
    what became of it."""

    __slots__ = (
        "_all_open", "_asked", "_caller", "_deadline", "_errors", "_failed", "_has_begun",
        "_kind", "_planned", "_policy", "_progress", "_refused", "_streams", "_suspects", "_table",
        "_waited",
        "_waits", "_waits_until", "outcomes", "waiting_for",
    )  # fmt: skip

    def __init__(
        self,
        table: LaneTable,
        policy: RoutingPolicy,
        caller: CallerId,
        lanes: Sequence[ResolvedTarget],
        progress: Progress,
        *,
        all_open: bool,
        streams: bool,
        commit_seconds: float,
        wait_seconds: float,
        whole_seconds: float,
    ) -> None:
        """`lanes` as they were planned; with `all_open` their circuits were open then. No pause before a lane
        is asked again ends later than `commit_seconds` after the call. Those for open circuits take at most
        `wait_seconds`, and of a stream end within `whole_seconds`: its client sees signs of life."""
        self._table = table
        self._policy = policy
        self._caller = caller
        self._progress = progress
        self._deadline = progress.opened_at + commit_seconds
        self._waits = wait_seconds
        self._waits_until = progress.opened_at + (whole_seconds if streams else commit_seconds)
        self._planned = lanes
        self._all_open = all_open
        self._streams = streams
        self._has_begun = False
        self._asked: list[ResolvedTarget] = []
        self._suspects: list[Passage] = []
        self._errors: list[GatewayError] = []  # of lanes that were asked
        self._refused: list[GatewayError] = []  # of lanes that cannot take the call
        self._failed: ResolvedTarget | None = None  # asked last
        self._kind: FallBack | None = None  # how that failed
        self._waited = 0.0
        self.outcomes: list[tuple[str, str]] = []
        self.waiting_for: ResolvedTarget | None = None

    # Choose

    async def next(self) -> Passage | None:
        """Return the next lane to ask; None if there is none."""
        if not self._has_begun:
            self._has_begun = True
            if not self._all_open:
                passage = self._enter(self._planned[0])
                if passage is not None and not passage.probes:  # as almost always
                    return self._entered(passage)
                if passage is not None and await self._table.confirm(passage):
                    return self._entered(passage)
            return await self._first()
        passage = await self._of_the_others()
        if passage is None and self._all_open:
            passage = await self._of_the_open()
        if passage is None and self._failed is not None:
            passage = await self._same_again()
        return passage

    async def _first(self) -> Passage | None:
        if not self._all_open:
            passage = await self._of_the_others()
            if passage is not None:
                return passage
        return await self._last_resort()

    def _enter(self, lane: ResolvedTarget) -> Passage | None:
        return self._table.enter(lane, self._caller, streams=self._streams, is_last=self._all_open)

    async def _of_the_others(self) -> Passage | None:
        """Enter the first lane of the plan that was not asked and may take the call now."""
        for lane in self._planned:
            if self._is_left(lane):
                passage = self._enter(lane)
                if passage is not None and await self._table.confirm(passage):
                    if self._may_retry(lane):
                        return self._entered(passage)
                    passage.leave()
        return None

    def _is_left(self, lane: ResolvedTarget) -> bool:
        if not self._asked:
            return True
        if any(lane is each for each in self._asked):
            return False
        if self._failed is None:
            return True
        return fallback.suits(self._kind, self._failed, lane)

    def _may_retry(self, lane: ResolvedTarget) -> bool:
        """Take a second attempt at a provider from its retry budget. Another provider costs nothing: it
        relieves the first."""
        if not self._asked:
            return True
        provider = _provider(lane)
        is_new = all(_provider(each) != provider for each in self._asked)
        return is_new or self._table.retries.spend(provider)

    async def _same_again(self) -> Passage | None:
        """Ask the lane that failed once more, if it is the only one, after a pause."""
        lane, error = self._failed, self._errors[-1]
        is_alone = lane is not None and all(lane is each for each in self._asked)
        if lane is None or not is_alone or not fallback.may_repeat(error):
            return None
        pause = fallback.pause_seconds(error, len(self._asked), self._table.chance())
        if clock.monotonic() + pause >= self._deadline:
            return None
        if not self._table.retries.spend(_provider(lane)):
            return None
        await self._sleep(lane, pause)
        passage = self._enter(lane) or self._table.enter_open(lane, self._caller)
        if passage is None or not await self._table.confirm(passage):
            return None
        return self._entered(passage)

    def _entered(self, passage: Passage) -> Passage:
        lane = passage.lane
        if not self._asked or all(_provider(each) != _provider(lane) for each in self._asked):
            self._table.retries.earn(_provider(lane))
        self._asked.append(lane)
        self.waiting_for = None
        return passage

    # Never the last

    async def _last_resort(self) -> Passage | None:
        """Ask a lane that only rests, or wait for the one that may be tried soonest, if that is soon; else
        ask one that failed. Raise if all that is left asked to be left alone."""
        self._all_open = True
        passage = await self._of_the_others()
        if passage is not None:
            return passage
        while (pause := self._pause()) is not None:
            await self._sleep(self._soonest(), pause)
            self._waited += pause
            passage = await self._of_the_others()
            if passage is not None:
                return passage
        passage = await self._of_the_open()
        if passage is None:
            raise self._nobody()
        return passage

    async def _of_the_open(self) -> Passage | None:
        """Enter the first lane that was not asked although its circuit is open, if it only failed."""
        for lane in self._planned:
            if self._is_left(lane):
                passage = self._table.enter_open(lane, self._caller)
                if passage is not None and await self._table.confirm(passage):
                    if self._may_retry(lane):
                        return self._entered(passage)
                    passage.leave()
        return None

    def _pause(self) -> float | None:
        """Return how long to wait before a lane may be tried again; None if that is too long."""
        state = self._state(self._soonest())
        rest = (state.open_until or 0.0) - clock.timestamp()
        rest = max(rest, LOOK_SECONDS if state.is_probing else 0.01)
        if self._waited + rest > self._waits or clock.monotonic() + rest >= self._waits_until:
            return None
        return rest

    def _soonest(self) -> ResolvedTarget:
        return min(self._planned, key=lambda lane: self._state(lane).open_until or 0.0)

    def _state(self, lane: ResolvedTarget) -> LaneHealth:
        return self._table.of(lane, clock.timestamp())

    async def _sleep(self, lane: ResolvedTarget, seconds: float) -> None:
        self.waiting_for = lane
        self._progress.enter(Phase.LANE)
        await asyncio.sleep(seconds)

    def _nobody(self) -> GatewayError:
        """Return the error of a call that no lane takes now: why, and when to come back."""
        state = self._state(self._soonest())
        rest = max((state.open_until or 0.0) - clock.timestamp(), 1.0)
        kind = _REFUSALS.get(state.reason, UpstreamOverloaded)
        message = f"No provider of this model can take a call now{_WHY.get(kind, '')}."
        error = kind(message, retry_after_seconds=rest)
        self.outcomes += [(lane.name, self._state(lane).reason) for lane in self._planned]
        return error

    # Learn

    def answered(self, passage: Passage, seconds: float | None) -> None:
        """Note that a lane gave its first output. What failed before was not the call's fault."""
        passage.answered(seconds)
        self._judge(is_calls_fault=False)

    def failed(self, passage: Passage, error: GatewayError | None) -> None:
        """Note how an attempt ended that was not answered in full."""
        is_made_good = error is not None and fallback.kind_of(error) in self._policy.fall_back_on
        passage.failed(error, is_made_good=is_made_good)
        if passage.is_suspect:
            self._suspects.append(passage)

    def may_go_on(self, passage: Passage, error: GatewayError) -> bool:
        """Return whether another lane may be asked after this error."""
        self.outcomes.append((passage.lane.name, error.code))
        if isinstance(error, BadRequest) or fallback.is_unaffordable(error):
            self._refused.append(error)  # nothing was sent
            return True
        self._errors.append(error)
        kind = fallback.kind_of(error)
        if kind is None or kind not in self._policy.fall_back_on:
            return False
        if kind == self._kind and kind in fallback.ONE_STEP:
            return False
        self._failed, self._kind = passage.lane, kind
        asked = len(self._asked) - len(self._refused)
        return asked < min(self._policy.max_attempts, MOST_ATTEMPTS)

    def error(self) -> GatewayError:
        """Return the error the client gets: that of the lane asked last, with the soonest moment at which
        one of them wants to be asked again; without one, why no lane could take the call."""
        if not self._errors:
            unaffordable = [each for each in self._refused if fallback.is_unaffordable(each)]
            return (unaffordable or self._refused)[0]
        error = self._errors[-1]
        waits = [e.retry_after_seconds for e in self._errors if e.retry_after_seconds is not None]
        if waits and error.retry_after_seconds is not None:
            error.retry_after_seconds = min(waits)
        return error

    def end(self) -> None:
        """Judge what is left to be judged. A call that all lanes choked on is suspect itself."""
        if self._suspects:
            models = {(*_provider(each.lane), each.lane.model) for each in self._suspects}
            all_choked = len(self._suspects) == len(self._errors) and len(models) > 1
            self._judge(is_calls_fault=all_choked)

    def _judge(self, *, is_calls_fault: bool) -> None:
        if self._suspects:
            suspects, self._suspects = self._suspects, []
            for passage in suspects:
                passage.judge(is_calls_fault=is_calls_fault)


def _provider(lane: ResolvedTarget) -> tuple[int, str]:
    return lane.provider_id, lane.provider
