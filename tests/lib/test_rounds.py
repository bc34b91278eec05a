"""One timer looks at everything that runs, as often as what runs needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, cast

from gateway_project.lib import current_request
from gateway_project.lib.rounds import Rounds


class FakeLoop:
    """The clock and the timers of a loop that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        return self.now

    def call_later(
        self, seconds: float, callback: Callable[[], None], *, context: Context
    ) -> asyncio.TimerHandle:
        when = self.now + seconds
        handle = asyncio.TimerHandle(when, callback, (), cast("Any", self), context)
        self.timers.append(handle)
        return handle

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self.timers.remove(handle)

    def go_to_next(self, late_by: float = 0.0) -> None:
        """Fire the one timer there is."""
        (handle,) = self.timers
        self.timers.clear()
        self.now = handle.when() + late_by
        handle._run()


class Call:
    def __init__(self, tick: float, *, fails: bool = False) -> None:
        self.tick = tick
        self.fails = fails
        self.looks: list[float] = []

    def look(self, now: float) -> None:
        self.looks.append(now)
        if self.fails:
            raise RuntimeError("a look that failed")


def test_all_are_looked_at_as_often_as_the_most_impatient_needs_it() -> None:
    loop = FakeLoop()
    rounds = Rounds(cast("asyncio.AbstractEventLoop", loop))
    patient, hasty = Call(1.0), Call(0.25)
    rounds.join(patient)
    rounds.join(hasty)
    loop.go_to_next()
    loop.go_to_next()
    assert patient.looks == hasty.looks == [0.25, 0.5]
    rounds.leave(hasty)
    loop.go_to_next()
    loop.go_to_next()
    assert patient.looks == [0.25, 0.5, 0.75, 1.75]
    rounds.leave(patient)
    loop.go_to_next()
    assert loop.timers == []
    rounds.join(patient)
    loop.go_to_next()
    assert len(patient.looks) == 5


def test_one_that_cannot_be_looked_at_leaves_the_others_their_looks() -> None:
    loop = FakeLoop()
    rounds = Rounds(cast("asyncio.AbstractEventLoop", loop))
    calls = [Call(1.0, fails=True), Call(1.0), Call(1.0, fails=True)]
    for call in calls:
        rounds.join(call)
    loop.go_to_next()
    loop.go_to_next()
    assert [call.looks for call in calls] == [[1.0, 2.0]] * 3


def test_a_loop_that_stood_still_reads_what_came_before_it_looks() -> None:
    loop = FakeLoop()
    rounds = Rounds(cast("asyncio.AbstractEventLoop", loop))
    call = Call(0.25)
    rounds.join(call)
    loop.go_to_next(late_by=0.2)
    assert call.looks == [0.45]
    loop.go_to_next(late_by=60.0)
    assert call.looks == [0.45]
    loop.go_to_next()
    assert len(call.looks) == 2
    # One that is always late looks even so, if half as often.
    for _ in range(4):
        loop.go_to_next(late_by=1.0)
    assert len(call.looks) == 4


def test_no_look_is_taken_for_the_request_of_the_first_that_ran() -> None:
    loop = FakeLoop()
    rounds = Rounds(cast("asyncio.AbstractEventLoop", loop))
    seen: list[object] = []

    class Looked(Call):
        def look(self, now: float) -> None:
            seen.append(current_request.current())

    def begin_a_request() -> None:
        current_request.enter("req_0123456789abcdef0123456789abcdef", [], None)
        rounds.join(Looked(1.0))

    copy_context().run(begin_a_request)
    loop.go_to_next()
    loop.go_to_next()
    assert seen == [None, None]
