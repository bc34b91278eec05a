"""Turns of large bodies, and who gives one up at the moment it would have been theirs."""

from __future__ import annotations

import asyncio

from responses_api.process.large_bodies import LargeBodies, TurnLimits

LARGE = 2


async def test_a_turn_that_ends_as_the_next_in_line_leaves_goes_to_the_one_behind() -> None:
    bodies = LargeBodies(TurnLimits(size=1, in_all=1, per_key=1, wait_seconds=60))
    first, second, third = (bodies.turn(key) for key in ("a", "b", "c"))
    await first.take(LARGE)
    leaving, staying = (asyncio.create_task(turn.take(LARGE)) for turn in (second, third))
    await asyncio.sleep(0)
    leaving.cancel()  # its task has not run again when the turn comes free
    first.end()
    (ended,) = await asyncio.gather(leaving, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError)
    await staying
    third.end()
    again = bodies.turn("b")
    await asyncio.wait_for(again.take(LARGE), 120)
    again.end()
    assert (bodies.running_count, bodies.waiting_count) == (0, 0)
