"""Look at the calls of all workers, and stop one wherever it runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from gateway_project.lib import aio, clock
from gateway_project.lib.secret import Secret
from responses_api.live.answering import CHANNEL, END_SECONDS, LiveAnswers
from responses_api.live.messages import (
    MOST_CALLS,
    LiveQuestion,
    WorkerAnswer,
    WorkerName,
    encode,
    read_answer,
)
from responses_api.process.running_call import RunningCall, StoppedCall

ANSWER_SECONDS = 0.3
SHARED_SECONDS = 0.5
Reach = Literal["all", "alone", "cut_off"]


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """A running call and the worker that makes it; None for people who are not shown that."""

    call: RunningCall
    worker: WorkerName | None


@dataclass(frozen=True, slots=True)
class InFlight:
    """The running calls: the oldest `calls`, and how many there are (`total`).

    `asked` and `answered` count workers; of those that did not answer nothing is known. `reach` tells who was
    asked: every worker that listens to Redis, this one `alone` because there is no Redis, or this one because
    it is `cut_off` from Redis.
    """

    calls: tuple[PlacedCall, ...]
    total: int
    asked: int
    answered: int
    reach: Reach


class InFlightCalls:
    """The calls of all workers, seen from one of them or, without `here`, from outside."""

    def __init__(self, here: LiveAnswers | None, redis_url: Secret | None) -> None:
        self._here = here
        self._redis_url = redis_url
        self._looks: dict[frozenset[int] | None, tuple[float, asyncio.Task[InFlight]]] = {}

    async def look(self, tenants: frozenset[int] | None) -> InFlight:
        """Return the calls of these tenants, or of all. Whoever asks for the same within half a second
        shares an answer, so that many open pages ask no more than one does.
        """
        now = clock.monotonic()
        known = self._looks.get(tenants)
        if known is None or now - known[0] > SHARED_SECONDS:
            recent = self._looks.items()
            self._looks = {each: look for each, look in recent if now - look[0] <= SHARED_SECONDS}
            question = LiveQuestion("calls", tenants=None if tenants is None else sorted(tenants))
            known = now, aio.hold(self._calls(question), "in-flight-look")
            self._looks[tenants] = known
        return await asyncio.shield(known[1])

    async def find(self, request_id: str) -> PlacedCall | None:
        found = await self._calls(LiveQuestion("calls", request_id=request_id))
        return found.calls[0] if found.calls else None

    async def stop(self, request_id: str) -> StoppedCall | None:
        """End the call of a request. Return how it ended; None if no worker that answers runs it."""
        question = LiveQuestion("stop", request_id=request_id)
        _, answers, _ = await self._ask(question, END_SECONDS + ANSWER_SECONDS)
        return next((each.stopped for each in answers if each.stopped is not None), None)

    async def _calls(self, question: LiveQuestion) -> InFlight:
        asked, answers, reach = await self._ask(question, ANSWER_SECONDS)
        placed = [PlacedCall(call, each.worker) for each in answers for call in each.calls]
        placed.sort(key=lambda each: (-each.call.elapsed_ms, each.call.request_id))
        total = sum(each.count for each in answers)
        return InFlight(tuple(placed[:MOST_CALLS]), total, asked, len(answers), reach)

    async def _ask(
        self, question: LiveQuestion, seconds: float
    ) -> tuple[int, list[WorkerAnswer], Reach]:
        """Return how many workers were asked, their answers, and which they are."""
        heard = await self._ask_over_redis(question, seconds)
        asked, answers = heard or (0, [])
        here = self._here
        is_told = any(each.stopped for each in answers)
        if (
            here is not None
            and not is_told
            and here.worker not in {each.worker for each in answers}
        ):
            answers.append(await here.answer(question))
        reach: Reach = (
            "alone" if self._redis_url is None else "all" if heard is not None else "cut_off"
        )
        return max(asked, len(answers)), answers, reach

    async def _ask_over_redis(
        self, question: LiveQuestion, seconds: float
    ) -> tuple[int, list[WorkerAnswer]] | None:
        if self._redis_url is None:
            return None
        from responses_api.live import asking  # noqa: PLC0415  # redis only where it is used

        reply_to = asking.new_list()
        said = encode(LiveQuestion(question.kind, reply_to, question.tenants, question.request_id))
        got = await asking.ask(self._redis_url, CHANNEL, said, reply_to, seconds, _has_stopped)
        if got is None:
            return None
        read = (read_answer(each) for each in got[1])
        return got[0], [each for each in read if each is not None]


def _has_stopped(data: bytes) -> bool:
    answer = read_answer(data)
    return answer is not None and answer.stopped is not None
