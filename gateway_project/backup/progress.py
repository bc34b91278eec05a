"""Tell on stderr how far long work is, now and then."""

from __future__ import annotations

from collections.abc import Callable

from gateway_project.lib import clock

EVERY_SECONDS = 2.0


class ProgressTeller:
    """Says what is begun at once, and how far it is every few seconds."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._next_at = 0.0

    def begin(self, what: str) -> None:
        self._say(what)
        self._next_at = clock.monotonic() + EVERY_SECONDS

    def tell(self, how_far: str) -> None:
        if clock.monotonic() >= self._next_at:
            self.begin(f"  {how_far}")
