"""Follow one attempt through a lane, and tell the circuits how it went."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import structs

from gateway_project.lib.errors import GatewayError
from routing.health.callers import CallerId
from routing.health.circuit import Circuit, Sample
from routing.health.effects import Effect, effects_of
from routing.health.lane_state import LaneState
from routing.route import ResolvedTarget


class Keeper(Protocol):
    """Keep the circuits that an attempt tells of its end."""

    def answered(self, passage: Passage, seconds: float | None) -> None: ...

    def affected(self, passage: Passage, effect: Effect) -> None: ...

    def returned(self, circuits: Sequence[Circuit]) -> None: ...


class Passage:
    """One attempt at a lane. Whoever has one says how it went, and leaves it.

    `probes` are the circuits it has the lease of, to find out whether they work again; `trials` those it
    uses although they are open, as there was no other lane. `sample` is its success, once it had output.
    """

    __slots__ = (
        "_is_over", "_is_waiting", "_keeper", "_suspicions", "caller", "lane", "probes", "sample",
        "state", "trials",
    )  # fmt: skip

    def __init__(
        self,
        keeper: Keeper,
        state: LaneState,
        lane: ResolvedTarget,
        caller: CallerId,
        now: float,
        probes: tuple[Circuit, ...] = (),
        trials: tuple[Circuit, ...] = (),
        *,
        streams: bool = False,
    ) -> None:
        """`streams`: its first output is its beginning, not its whole answer."""
        self._keeper = keeper
        self._is_over = False
        self._suspicions: tuple[Effect, ...] = ()
        self.state = state
        self.lane = lane
        self.caller = caller
        self.probes = probes
        self.trials = trials
        self.sample: Sample | None = None
        state.in_flight += 1
        self._is_waiting = streams
        if streams:
            state.wait(caller, now)
        state.account.in_flight += 1
        if lane.limits is not None:
            state.account.take(lane.limits, now)
        for circuit in trials:
            circuit.trials += 1

    def finds_out(self, circuit: Circuit) -> bool:
        return circuit in self.probes or circuit in self.trials

    @property
    def is_suspect(self) -> bool:
        """Return whether it failed in a way that may be the call's own fault."""
        return bool(self._suspicions)

    def read_limits(self, headers: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """Read what the provider says of its limits."""
        self.state.limits.read(headers, now)

    def answered(self, seconds: float | None) -> None:
        """Note the first output, so many seconds after the lane was asked."""
        self._keeper.answered(self, seconds)
        if self._is_waiting:
            self._wait_no_longer()
        if self.probes:
            self._give_back()

    def failed(self, error: GatewayError | None, *, is_made_good: bool = False) -> None:
        """Note how the attempt failed; `is_made_good`: another lane may answer its call. What may be the
        call's own fault waits for `judge`."""
        effects = effects_of(error)
        if is_made_good:
            effects = tuple(structs.replace(each, is_costly=False) for each in effects)
        if any(effect.is_suspect for effect in effects) and self.sample is None:
            self._suspicions = effects
            return
        for effect in effects:
            self._keeper.affected(self, effect)
        self._give_back()

    def judge(self, *, is_calls_fault: bool) -> None:
        """Say whose fault it was, now that it is known how the call fared elsewhere."""
        effects, self._suspicions = self._suspicions, ()
        if not is_calls_fault:
            for effect in effects:
                self._keeper.affected(self, effect)
        self._give_back()

    def leave(self, tokens: int = 0, now: float = 0.0) -> None:
        """Leave the lane, once; the call used so many tokens of the account."""
        if self._is_over:
            return
        self._is_over = True
        if self._is_waiting:
            self._wait_no_longer()
        state = self.state
        state.in_flight -= 1
        state.account.in_flight -= 1
        if tokens and self.lane.limits is not None:
            state.account.add_tokens(self.lane.limits, tokens, now)
        for circuit in self.trials:
            circuit.trials -= 1
        if self.probes and not self._suspicions:
            self._give_back()

    def _wait_no_longer(self) -> None:
        self._is_waiting = False
        self.state.wait_no_longer(self.caller)

    def _give_back(self) -> None:
        if self.probes:
            probes, self.probes = self.probes, ()
            self._keeper.returned(probes)
