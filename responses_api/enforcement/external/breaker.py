"""Stop asking an external check that does not answer, and try again now and then.

    CLOSED     5 failures in a row, of two callers        ⇒ OPEN
    OPEN       until the pause is over: nobody asks; 5 s, doubled with each opening in a row, at most 60 s
    HALF OPEN  one call asks                              success ⇒ CLOSED · failure ⇒ OPEN

Each worker counts for itself. While it is open, calls learn at once that the check is away, and do not wait
for its whole time limit. A caller whose texts make the check fail opens it for nobody else: where others
were heard of within the last minute, two of them must have failed.
"""

from __future__ import annotations

from gateway_project.lib import clock

FAILURES = 5
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0
HEARD_SECONDS = 60.0


class Breaker:
    """The breaker of one external check."""

    __slots__ = (
        "_failed", "_failures", "_latest", "_open_until", "_openings", "_other", "_probes_until",
    )  # fmt: skip

    def __init__(self) -> None:
        self._failures = 0
        self._failed: set[str] = set()  # who failed in this run; two are enough to know
        self._latest = self._other = ("", 0.0)  # the last two callers that differ, and when
        self._openings = 0
        self._open_until = 0.0
        self._probes_until = 0.0

    def may_ask(self, who: str, timeout_seconds: float) -> bool:
        """Return whether the check may be asked now. Whoever is let through after a pause is alone until
        it ends, or its time is over."""
        now = clock.monotonic()
        if who != self._latest[0]:
            self._other = self._latest
        self._latest = (who, now)
        if not self._openings:
            return True
        if now < self._open_until or now < self._probes_until:
            return False
        self._probes_until = now + timeout_seconds
        return True

    def succeed(self) -> None:
        """Count an answer."""
        self._failures = self._openings = 0
        self._failed.clear()

    def pass_by(self) -> None:
        """Let another caller try: what happened says nothing of the check."""
        self._probes_until = 0.0

    def fail(self, who: str) -> None:
        """Count a question that was not answered."""
        now = clock.monotonic()
        self._failures += 1
        self._probes_until = 0.0
        if len(self._failed) < 2:
            self._failed.add(who)
        is_alone = not self._other[0] or now - self._other[1] > HEARD_SECONDS
        has_tripped = self._failures >= FAILURES and (len(self._failed) > 1 or is_alone)
        if self._openings or has_tripped:
            pause = min(FIRST_PAUSE_SECONDS * 2**self._openings, LONGEST_PAUSE_SECONDS)
            self._openings = min(self._openings + 1, 10)
            self._open_until = now + pause
            self._failures = 0
            self._failed.clear()
