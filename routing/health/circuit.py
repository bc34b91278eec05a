"""Decide when something that fails is left alone, and when it is tried again.

    CLOSED      the last 20 outcomes, none older than 60 s: 12 failures            => OPEN
                fewer than 20 of them: 5 failures in a row, of all processes       => OPEN
                a hold: it asked to be left alone                                  => OPEN
    OPEN        until `until`, which only moves forward
    HALF OPEN   from `until` on: one call has the lease to find out; for others it is open. Where another lane
                answers, not before 5 s since it opened a second time in a row, then 10, 20, 40 s: a provider
                that names a short pause again and again would be asked by a call each time
                success => CLOSED, everything forgotten;   failure => OPEN, for twice as long
                neither => the lease is given back

A window of outcomes, not of time: in a busy window of time the successes before an outage hide it for
seconds, and thousands of calls fail. Failures in a row open only a quiet circuit: a busy one that loses a
tenth of its calls has five in a row every hour.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from routing.health import callers
from routing.health.callers import CallerId

WINDOW = 20
MOST_FAILURES = 12
IN_A_ROW = 5
FRESH_SECONDS = 60.0
# A run of failures in a quiet hour is forgotten after this.
RUN_SECONDS = 600.0
# Whoever was answered so recently vouches for it: the failures of one other caller do not open it.
VOUCHED_SECONDS = 20.0

FIRST_PAUSE_SECONDS = 10.0
# Where another lane answers the call that finds out, finding out often costs next to nothing, and traffic is
# back within a minute. Where it costs a client its answer, it is tried more and more rarely.
LONGEST_PAUSE_SECONDS = 40.0
LONGEST_COSTLY_PAUSE_SECONDS = 300.0
# Between calls that find out, of a circuit that has opened twice in a row, while others answer.
FIRST_REST_SECONDS = 5.0
SPREAD = 0.2
MOST_TRIALS = 4
# What moves the end of an open circuit by less need not be told to others.
WORTH_TELLING_SECONDS = 1.0

Vouchers = dict[CallerId, float]
OpenedBy = Literal["", "failures", "hold"]


class Sample:
    """The outcome of one call, in the windows of all its circuits. A success may turn into a failure of one
    of them later, in mid-answer: `failed_in` has that circuit's bit then."""

    __slots__ = ("at", "caller", "failed_in")

    def __init__(self, at: float, caller: CallerId, failed_in: int = 0) -> None:
        self.at = at
        self.caller = caller
        self.failed_in = failed_in


class Circuit:
    """The circuit of one scope. `until` is None while it is closed; `openings` counts those in a row.

    `spread` of a method is a number from 0 to 1, by chance: workers must not all come back at once.
    `bit` marks it among the circuits of a lane, and `vouchers` tell when callers were answered last on each
    of its lanes.
    """

    __slots__ = (
        "_ended_run", "_newest", "_run", "_window", "bit", "lease_until", "opened_at", "opened_by",
        "openings", "probed_at", "reason", "scope", "trials", "until", "vouchers",
    )  # fmt: skip

    def __init__(self, scope: str, bit: int = 1) -> None:
        self.scope = scope
        self.bit = bit
        self.until: float | None = None
        self.opened_at = 0.0  # the latest time, as far as this process was told
        self.opened_by: OpenedBy = ""
        self.reason = ""
        self.openings = 0
        self.lease_until = 0.0
        self.probed_at = 0.0
        self.vouchers: list[Vouchers] = []
        self.trials = 0  # calls at this moment that use it although it is open
        self._window: deque[Sample] = deque(maxlen=WINDOW)
        self._run: list[Sample] = []
        # The newest success, and the run it ended.
        self._newest: Sample | None = None
        self._ended_run: list[Sample] = []

    # Ask

    @property
    def is_idle(self) -> bool:
        """Return whether nothing would be lost if it were forgotten."""
        return self.until is None and not self._window and not self._run

    def is_due(self, now: float) -> bool:
        """Return whether it is open and may be tried again, by whoever gets the lease."""
        return self.until is not None and self.until <= now and self.lease_until <= now

    @property
    def rests_until(self) -> float:
        """Return from when on a call is worth finding out with that another lane would answer."""
        if self.openings < 2:
            return self.until or 0.0
        rest = min(FIRST_REST_SECONDS * 2.0 ** min(self.openings - 2, 30), LONGEST_PAUSE_SECONDS)
        return max(self.until or 0.0, self.opened_at + rest)

    def is_probing(self, now: float) -> bool:
        return self.until is not None and self.lease_until > now

    # Tell

    def answered(self, sample: Sample) -> bool:
        """Note an answer, while it is closed. Return whether it ended failures in a row."""
        self._window.append(sample)
        self._newest = sample
        if not (self._run or self._ended_run):
            return False
        self._ended_run, self._run = self._run, []
        return bool(self._ended_run)

    def failure(
        self,
        now: float,
        caller: CallerId,
        reason: str,
        spread: float,
        *,
        is_probe: bool = False,
        is_costly: bool = False,
        sample: Sample | None = None,
    ) -> bool:
        """Note a failure, of a call that was noted as a `sample` of success before if it was. Return
        whether the circuit's end moved, so that others should know."""
        if self.until is not None:
            return self._fail_again(now, reason, spread, is_probe=is_probe, is_costly=is_costly)
        if sample is None:
            sample = Sample(now, caller, self.bit)
            self._window.append(sample)
        else:
            self._turn(sample)
        self._run.append(sample)
        if not self._should_open(now):
            return False
        self._open(now, self._pause(spread, is_costly=is_costly), "failures", reason)
        return True

    def failure_elsewhere(self, now: float, caller: CallerId, reason: str, spread: float) -> bool:
        """Note that a call of another process failed. Return whether this opened the circuit."""
        if self.until is not None:
            return False
        self._run.append(Sample(now, caller, self.bit))
        if not self._should_open(now):
            return False
        self._open(now, self._pause(spread, is_costly=False), "failures", reason)
        return True

    def success_elsewhere(self) -> None:
        """End the run, because a call of another process was answered."""
        self._run = []
        self._newest = None

    def hold(
        self, now: float, reason: str, seconds: float, most: float = 0.0, *, is_probe: bool = False
    ) -> bool:
        """Leave it alone for so long; with `most`, twice as long each time in a row, up to that. Return
        whether the circuit's end moved."""
        was_open = self.until is not None
        count = self.openings if was_open and not is_probe else self.openings + 1
        if most:
            seconds = min(seconds * 2.0 ** min(max(count - 1, 0), 30), most)
        if was_open and not is_probe and now + seconds <= (self.until or 0.0):
            return False
        self._open(now, seconds, "hold", reason, count=count)
        return True

    def learn(
        self, now: float, until: float, openings: int, opened_by: OpenedBy, reason: str
    ) -> None:
        """Take over what another process found out."""
        self.opened_at = now
        if self.until is None or until > self.until:
            self.until, self.opened_by, self.reason = until, opened_by, reason
        self.openings = max(self.openings, openings)

    def lease(self, now: float, seconds: float) -> bool:
        """Take the lease to find out, if it is due and nobody has it."""
        if not self.is_due(now):
            return False
        self.lease_until, self.probed_at = now + seconds, now
        return True

    def lease_early(self, now: float, seconds: float, every: float) -> bool:
        """Take the lease before it is due, unless somebody has found out within `every` seconds."""
        if self.until is None or self.lease_until > now or now - self.probed_at < every:
            return False
        self.lease_until, self.probed_at = now + seconds, now
        return True

    def give_back(self) -> None:
        self.lease_until = 0.0

    def close(self) -> None:
        """Forget everything: it works, or somebody says so."""
        self.until, self.opened_by, self.reason, self.openings = None, "", "", 0
        self.lease_until = 0.0
        self._forget()

    def _forget(self) -> None:
        self._window.clear()
        for vouchers in self.vouchers:
            vouchers.clear()
        self._run = []
        self._newest, self._ended_run = None, []

    # Decide

    def _turn(self, sample: Sample) -> None:
        """Make a success a failure. If it was the newest, the run it ended goes on."""
        sample.failed_in |= self.bit
        if self._newest is sample:
            self._run = [*self._ended_run[-IN_A_ROW:], *self._run]
            self._newest, self._ended_run = None, []

    def _fail_again(
        self, now: float, reason: str, spread: float, *, is_probe: bool, is_costly: bool
    ) -> bool:
        """Stay open for longer: for twice as long if this call was to find out."""
        count = self.openings + 1 if is_probe else max(self.openings, 1)
        until = now + self._pause(spread, is_costly=is_costly, count=count)
        before = self.until or 0.0
        if is_probe:
            self.lease_until = 0.0
        if until > before:
            self.until = until
            if is_probe or self.opened_by == "failures":
                self.opened_by, self.reason = "failures", reason
        self.openings = count
        return is_probe or until - before > WORTH_TELLING_SECONDS

    def _should_open(self, now: float) -> bool:
        self._forget_old(now)
        window, run = self._window, self._run
        present = self._present(now)
        if len(window) == WINDOW:
            failed = [sample.caller for sample in window if sample.failed_in & self.bit]
            return len(failed) >= MOST_FAILURES and callers.speak_for_all(failed, present)
        in_a_row = [sample.caller for sample in run]
        return len(run) >= IN_A_ROW and callers.speak_for_all(in_a_row, present)

    def _present(self, now: float) -> set[CallerId]:
        """Return the callers that were answered a moment ago."""
        return {
            caller
            for vouchers in self.vouchers
            for caller, at in vouchers.items()
            if now - at <= VOUCHED_SECONDS
        }

    def _forget_old(self, now: float) -> None:
        window = self._window
        while window and now - window[0].at > FRESH_SECONDS:
            window.popleft()
        if len(self._run) > WINDOW or (self._run and now - self._run[0].at > RUN_SECONDS):
            self._run = [s for s in self._run[-WINDOW:] if now - s.at <= RUN_SECONDS]

    def _open(
        self, now: float, seconds: float, by: OpenedBy, reason: str, count: int | None = None
    ) -> None:
        self.openings = self.openings + 1 if count is None else max(count, 1)
        self.until = max(self.until or 0.0, now + seconds)
        self.opened_at = now
        self.opened_by, self.reason = by, reason
        self.lease_until = 0.0
        self._forget()

    def _pause(self, spread: float, *, is_costly: bool, count: int | None = None) -> float:
        """Return for how long it stays open: 10 s, then twice as long each time."""
        count = self.openings + 1 if count is None else count
        most = LONGEST_COSTLY_PAUSE_SECONDS if is_costly else LONGEST_PAUSE_SECONDS
        seconds = min(FIRST_PAUSE_SECONDS * 2.0 ** min(count - 1, 30), most)
        return seconds * (1.0 - SPREAD + 2.0 * SPREAD * spread)
