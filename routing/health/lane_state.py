"""Hold what one process knows of one lane: its circuits, how busy it is, and how fast it begins to answer."""

from __future__ import annotations

from gateway_project.lib.secret import Secret
from routing.health import callers
from routing.health.callers import CallerId
from routing.health.circuit import VOUCHED_SECONDS, Circuit, Vouchers
from routing.health.upstream_limits import AccountUse, UpstreamLimits
from routing.policy.lane_health import LaneHealth
from routing.route import ResolvedTarget

HALF_LIFE_SECONDS = 60.0
LEAST_WEIGHT = 0.01
MOST_VOUCHERS = 64
LEAST_WAITING = 2
LEAST_SILENT_SECONDS = 0.5
SILENT_TIMES = 4.0
USUAL_TTFT_SECONDS = 2.0

Circuits = tuple[Circuit, Circuit, Circuit, Circuit]


class LaneState:
    """The state of a lane. `circuits` are in the order of `scopes.KINDS`."""

    __slots__ = (
        "_sampled_at", "account", "circuits", "in_flight", "limits", "secret", "silent_since",
        "ttft_seconds", "vouchers", "waiters", "waiting",
    )  # fmt: skip

    def __init__(self, circuits: Circuits, account: AccountUse, secret: Secret | None) -> None:
        self.circuits = circuits
        self.vouchers: Vouchers = {}
        for circuit in circuits:
            circuit.vouchers.append(self.vouchers)
        self.account = account
        self.limits = UpstreamLimits()
        self.secret = secret
        self.in_flight = 0
        self.waiting = 0  # streams that have not begun
        self.waiters: dict[CallerId, int] = {}  # whose they are
        self.silent_since = 0.0  # when the oldest of them was sent, or another began since
        self.ttft_seconds: float | None = None
        self._sampled_at = 0.0

    @property
    def is_closed(self) -> bool:
        first, second, third, fourth = self.circuits
        return (
            first.until is None
            and second.until is None
            and third.until is None
            and fourth.until is None
        )

    @property
    def is_idle(self) -> bool:
        """Return whether nothing would be lost if it were forgotten."""
        return not self.in_flight and all(circuit.is_idle for circuit in self.circuits)

    def vouch(self, caller: CallerId, now: float) -> None:
        """Note that the caller was answered; of many the older half is forgotten."""
        vouchers = self.vouchers
        vouchers[caller] = now
        if len(vouchers) > MOST_VOUCHERS:
            for each in sorted(vouchers, key=vouchers.__getitem__)[: MOST_VOUCHERS // 2]:
                del vouchers[each]

    def wait(self, caller: CallerId, now: float) -> None:
        """Note that a stream of the caller waits for its beginning."""
        if not self.waiting:
            self.silent_since = now
        self.waiting += 1
        self.waiters[caller] = self.waiters.get(caller, 0) + 1

    def wait_no_longer(self, caller: CallerId) -> None:
        self.waiting -= 1
        left = self.waiters.pop(caller, 0) - 1
        if left > 0:
            self.waiters[caller] = left

    def sample(self, seconds: float, now: float) -> None:
        """Note a time to first output. What is a minute old counts half."""
        known = self.ttft_seconds
        if known is None:
            self.ttft_seconds = seconds
        else:
            weight = 1.0 - 0.5 ** (max(now - self._sampled_at, 0.0) / HALF_LIFE_SECONDS)
            self.ttft_seconds = known + (seconds - known) * max(weight, LEAST_WEIGHT)
        self._sampled_at = now

    def is_tight(self, lane: ResolvedTarget, now: float) -> bool:
        if self.limits.tight_until > now or self.is_silent(now):
            return True
        return lane.limits is not None and self.account.is_full(lane.limits, now)

    def is_silent(self, now: float) -> bool:
        """Return whether streams wait for it while it begins none, for longer than it usually takes. It may
        have stalled, which is known for sure only once they have run out of time. Those of one caller say
        nothing while others are answered: what it sends may take long to read."""
        if self.waiting < LEAST_WAITING:
            return False
        usual = USUAL_TTFT_SECONDS if self.ttft_seconds is None else self.ttft_seconds
        if now - self.silent_since <= max(SILENT_TIMES * usual, LEAST_SILENT_SECONDS):
            return False
        present = [each for each, at in self.vouchers.items() if now - at <= VOUCHED_SECONDS]
        return callers.speak_for_all(self.waiters, present)

    def seen(self, lane: ResolvedTarget, now: float, *, is_same_secret: bool = True) -> LaneHealth:
        """Return the lane at this instant. With another secret than before, nothing is held against it."""
        is_tight = self.is_tight(lane, now)
        if self.is_closed:
            return LaneHealth(
                is_tight=is_tight, in_flight=self.in_flight, ttft_seconds=self.ttft_seconds
            )
        circuits = self.circuits if is_same_secret else self.circuits[:2]
        is_open = [circuit for circuit in circuits if circuit.until is not None]
        if not is_open:
            return LaneHealth(
                is_tight=is_tight, in_flight=self.in_flight, ttft_seconds=self.ttft_seconds
            )
        last = max(is_open, key=lambda circuit: circuit.until or 0.0)
        is_held = any(circuit.opened_by == "hold" for circuit in is_open)
        return LaneHealth(
            open_until=last.until,
            rests_until=max(circuit.rests_until for circuit in is_open),
            opened_by="hold" if is_held else "failures",
            reason=last.reason,
            is_probing=any(circuit.is_probing(now) for circuit in is_open),
            is_tight=is_tight,
            in_flight=self.in_flight,
            ttft_seconds=self.ttft_seconds,
        )
