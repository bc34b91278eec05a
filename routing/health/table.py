"""Keep the circuits and the load of all lanes that one process knows."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway_project.lib import clock
from routing.health import messages, scopes
from routing.health.callers import CallerId
from routing.health.circuit import MOST_TRIALS, Circuit, OpenedBy, Sample
from routing.health.effects import Effect
from routing.health.lane_state import LaneState
from routing.health.messages import CircuitMessage
from routing.health.passage import Passage
from routing.health.retry_budget import RetryBudget
from routing.health.scopes import FailureScope
from routing.health.upstream_limits import AccountUse
from routing.policy.lane_health import HEALTHY, LaneHealth
from routing.route import ResolvedTarget

MAX_LANES = 10_000
MAX_CIRCUITS = 40_000
# Whoever finds out may take as long as this to learn anything.
LEASE_SECONDS = 60.0
# Where only holds are left, one call so often finds out whether quota and credentials are good again, and
# whether a provider that wants to be left alone for longer than a minute means it.
EARLY_PROBE_SECONDS = 30.0
MOST_OBEYED_SECONDS = 60.0
# Another process finds out: its result is told; if it had none, this one asks again.
ELSEWHERE_SECONDS = 2.0

_EARLY_REASONS = frozenset({"upstream_quota_exhausted", "upstream_auth_failed"})
_chance = random.Random().random  # noqa: S311  # no secret

LaneKey = tuple[int, str, str, str]
Lease = Callable[[Sequence[str], float], Awaitable[bool]]
GiveBack = Callable[[Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """An open circuit as people see it; `seconds` until it may be tried again, 0 once it may."""

    scope: FailureScope
    seconds: float
    openings: int
    opened_by: OpenedBy
    reason: str


class LaneTable:
    """The health of lanes. Everything is decided from memory; `tell`, `lease` and `give_back` are set by
    whatever shares it with other processes (sharing.py)."""

    def __init__(
        self,
        *,
        failure_seconds: float = LEASE_SECONDS,
        chance: Callable[[], float] = _chance,
        now: Callable[[], float] = clock.timestamp,
    ) -> None:
        """`failure_seconds`: the time to first output that a failure stands for, and the longest that a
        probe may take. `chance` gives numbers below 1."""
        self._failure_seconds = failure_seconds
        self.chance = chance
        self.now = now
        self._lanes: dict[LaneKey, LaneState] = {}
        self._circuits: dict[str, Circuit] = {}
        self._accounts: dict[str, AccountUse] = {}
        self.retries = RetryBudget()
        self.tell: Callable[[CircuitMessage], None] | None = None
        self.lease: Lease | None = None
        self.give_back: GiveBack | None = None

    # Ask

    def of(self, lane: ResolvedTarget, now: float) -> LaneHealth:
        """Return the health of a lane, as `routing.policy.lane_health.Health` wants it."""
        state = self._lanes.get((lane.provider_id, lane.provider, lane.model, lane.credential_id))
        if state is None:
            if not self._circuits:
                return HEALTHY
            state = self._state(lane)
        # A call that enters it with a new secret forgets what was held against the old one.
        is_same = state.secret is lane.secret or state.secret == lane.secret
        return state.seen(lane, now, is_same_secret=is_same)

    @property
    def size(self) -> int:
        """Count the lanes it keeps."""
        return len(self._lanes)

    def open_circuits(self) -> list[OpenCircuit]:
        """Return the open circuits that this process knows of."""
        now = self.now()
        found = []
        for name, circuit in list(self._circuits.items()):
            if circuit.until is None:
                continue  # as almost all
            scope = scopes.read_scope(name)
            if scope is not None:
                rest = max(circuit.until - now, 0.0)
                found.append(
                    OpenCircuit(scope, rest, circuit.openings, circuit.opened_by, circuit.reason)
                )
        return found

    def is_due(self, lane: ResolvedTarget) -> bool:
        """Return whether the lane is left alone no longer, and a call may find out whether it works."""
        now, state = self.now(), self._state(lane)
        is_open = [each for each in state.circuits if each.until is not None]
        return bool(is_open) and all(each.is_due(now) for each in is_open)

    # Use a lane

    def enter(
        self,
        lane: ResolvedTarget,
        caller: CallerId,
        *,
        streams: bool = False,
        is_last: bool = False,
    ) -> Passage | None:
        """Begin an attempt; None if a circuit is open for it. Where one may be tried again, this attempt
        has the lease of this process to find out, and `confirm` asks the others. `is_last`: no other lane
        would take the call, so that it waits for no rest."""
        state = self._state(lane)
        if state.secret is not lane.secret:
            self._renew_secret(state, lane)
        now = self.now()
        probes: tuple[Circuit, ...] = ()
        if not state.is_closed:
            probes = tuple(each for each in state.circuits if each.until is not None)
            if not all(
                each.is_due(now) and (is_last or each.rests_until <= now) for each in probes
            ):
                return None
            for circuit in probes:
                circuit.lease(now, self._failure_seconds)
        return Passage(self, state, lane, caller, now, probes, streams=streams)

    def enter_open(self, lane: ResolvedTarget, caller: CallerId) -> Passage | None:
        """Begin an attempt at a lane whose circuit is open, because there is no other. Those that failed
        take a few calls at once; of those to be left alone for long one call in a while finds out."""
        state, now = self._state(lane), self.now()
        is_open = tuple(each for each in state.circuits if each.until is not None)
        held = [each for each in is_open if each.opened_by == "hold" and not each.is_due(now)]
        if held:
            return self._enter_held(state, lane, caller, now, is_open)
        if any(each.trials >= MOST_TRIALS for each in is_open):
            return None
        return Passage(self, state, lane, caller, now, (), trials=is_open)

    def _enter_held(
        self,
        state: LaneState,
        lane: ResolvedTarget,
        caller: CallerId,
        now: float,
        is_open: tuple[Circuit, ...],
    ) -> Passage | None:
        for circuit in is_open:
            is_long = (circuit.until or now) - circuit.opened_at > MOST_OBEYED_SECONDS
            has_rested = now - circuit.opened_at >= EARLY_PROBE_SECONDS
            is_early = circuit.reason in _EARLY_REASONS or (is_long and has_rested)
            if not circuit.is_due(now) and not (
                is_early
                and circuit.lease_until <= now
                and now - circuit.probed_at >= EARLY_PROBE_SECONDS
            ):
                return None
        for circuit in is_open:
            circuit.lease_early(now, self._failure_seconds, 0.0)
        return Passage(self, state, lane, caller, now, is_open)

    async def confirm(self, passage: Passage) -> bool:
        """Make sure that no other process finds out the same. If one does, the passage is over."""
        if not passage.probes or self.lease is None:
            return True
        names = [circuit.scope for circuit in passage.probes]
        if await self.lease(names, self._failure_seconds):
            return True
        now = self.now()
        probes, passage.probes = passage.probes, ()
        for circuit in probes:
            circuit.lease_until = now + ELSEWHERE_SECONDS
        passage.leave()
        return False

    # Told by passages

    def answered(self, passage: Passage, seconds: float | None) -> None:
        """Note the first output of a lane, so many seconds after it was asked, where that is known."""
        now, state = self.now(), passage.state
        if seconds is not None:
            state.sample(seconds, now)
        state.silent_since = now
        sample = passage.sample = Sample(now, passage.caller)
        state.vouch(passage.caller, now)
        for circuit in state.circuits:
            if circuit.until is not None:
                self._find_out(passage, circuit)
            elif circuit.answered(sample):
                self._say("answer", circuit)

    def _find_out(self, passage: Passage, circuit: Circuit) -> None:
        """Close an open circuit by the answer of a call that was to find out. Others were sent before."""
        if passage.finds_out(circuit):
            circuit.close()
            self._say("close", circuit)

    def affected(self, passage: Passage, effect: Effect) -> None:
        """Note what an error did to the circuit of one scope."""
        state, now = passage.state, self.now()
        circuit = state.circuits[scopes.KINDS.index(effect.scope)]
        if effect.scope == "credential" and state.secret != passage.lane.secret:
            return  # the credential was replaced meanwhile
        is_probe = circuit in passage.probes
        if effect.hold_seconds:
            moved = circuit.hold(
                now, effect.reason, effect.hold_seconds, effect.most_seconds, is_probe=is_probe
            )
        else:
            moved = self._fail(passage, circuit, effect, now, is_probe=is_probe)
        if moved:
            self._tell_open(circuit, now)

    def _fail(
        self,
        passage: Passage,
        circuit: Circuit,
        effect: Effect,
        now: float,
        *,
        is_probe: bool,
    ) -> bool:
        if passage.sample is None:
            passage.state.sample(self._failure_seconds, now)
        was_open = circuit.until is not None
        moved = circuit.failure(
            now,
            passage.caller,
            effect.reason,
            self.chance(),
            is_probe=is_probe,
            is_costly=effect.is_costly,
            sample=passage.sample,
        )
        if not (moved or was_open) and self.tell is not None:
            caller = passage.caller
            self.tell(
                CircuitMessage(
                    "fail",
                    circuit.scope,
                    reason=effect.reason,
                    tenant_id=caller.tenant_id,
                    key_id=caller.key_id,
                )
            )
        return moved

    def returned(self, circuits: Sequence[Circuit]) -> None:
        """Give back leases of calls that found out nothing."""
        for circuit in circuits:
            circuit.give_back()
        if circuits and self.give_back is not None:
            self.give_back([circuit.scope for circuit in circuits])

    # Told by others

    def hear(self, message: CircuitMessage) -> None:
        """Take over what another process found out, or what an operator says."""
        now = self.now()
        circuit = self._circuits.get(message.scope)
        if message.kind in {"close", "answer"}:
            if circuit is not None and message.kind == "close":
                circuit.close()
            elif circuit is not None:
                circuit.success_elsewhere()
            return
        if circuit is None:
            scope = scopes.read_scope(message.scope)
            if scope is None:
                return
            circuit = self._circuit(scope)
        if message.kind == "fail":
            caller = CallerId(message.tenant_id, message.key_id)
            if circuit.failure_elsewhere(now, caller, message.reason, self.chance()):
                self._tell_open(circuit, now)
            return
        seconds = min(max(message.seconds, 0.0), messages.MOST_SECONDS)
        openings = min(max(message.openings, 1), messages.MOST_OPENINGS)
        reason = message.reason[: messages.MOST_REASON]
        circuit.learn(now, now + seconds, openings, message.opened_by or "failures", reason)

    def reset(self, scope: str) -> bool:
        """Close a circuit here and everywhere, as an operator wants it. Return whether it was open here."""
        circuit = self._circuits.get(scope)
        was_open = circuit is not None and circuit.until is not None
        if circuit is not None:
            circuit.close()
        if self.tell is not None:
            self.tell(CircuitMessage("close", scope))
        return was_open

    # The tables

    def clear(self) -> None:
        """Forget everything, here alone."""
        self._lanes.clear()
        self._circuits.clear()
        self._accounts.clear()
        self.retries = RetryBudget()

    def _state(self, lane: ResolvedTarget) -> LaneState:
        key = lane.provider_id, lane.provider, lane.model, lane.credential_id
        state = self._lanes.get(key)
        if state is None:
            if len(self._lanes) >= MAX_LANES:
                self._forget()
            provider, model, credential, both = scopes.scopes_of(lane)
            circuits = (
                self._circuit(provider),
                self._circuit(model),
                self._circuit(credential),
                self._circuit(both),
            )
            account = self._accounts.setdefault(credential.name, AccountUse())
            state = LaneState(circuits, account, lane.secret)
            self._lanes[key] = state
        return state

    def _circuit(self, scope: FailureScope) -> Circuit:
        circuit = self._circuits.get(scope.name)
        if circuit is None:
            if len(self._circuits) >= MAX_CIRCUITS:
                self._forget()
            bit = 1 << scopes.KINDS.index(scope.kind)
            circuit = self._circuits[scope.name] = Circuit(scope.name, bit)
        return circuit

    def _forget(self) -> None:
        """Forget lanes nothing is known of, and if that does not make room, the oldest."""
        self._lanes = {key: state for key, state in self._lanes.items() if not state.is_idle}
        if len(self._lanes) >= MAX_LANES:
            self._lanes = dict(list(self._lanes.items())[MAX_LANES // 2 :])
        for circuit in self._circuits.values():
            circuit.vouchers.clear()
        for state in self._lanes.values():
            for circuit in state.circuits:
                circuit.vouchers.append(state.vouchers)
        used = {id(circuit) for state in self._lanes.values() for circuit in state.circuits}
        kept = {n: c for n, c in self._circuits.items() if id(c) in used or c.until is not None}
        if len(kept) >= MAX_CIRCUITS:
            kept = dict(list(kept.items())[MAX_CIRCUITS // 2 :])
        self._circuits = kept
        self._accounts = {n: use for n, use in self._accounts.items() if use.in_flight}
        # Lanes that are kept go on with the circuits and accounts they have.
        for state in self._lanes.values():
            self._circuits |= {circuit.scope: circuit for circuit in state.circuits}
            self._accounts[state.circuits[2].scope] = state.account

    def _renew_secret(self, state: LaneState, lane: ResolvedTarget) -> None:
        """Forget what was held against a credential that was replaced. Reading the same row again makes
        another object of the same secret."""
        before, state.secret = state.secret, lane.secret
        if before == lane.secret:
            return
        for circuit in state.circuits[2:]:
            if circuit.until is not None:
                circuit.close()
                self._say("close", circuit)

    # Tell others

    def _say(self, kind: Literal["close", "answer"], circuit: Circuit) -> None:
        if self.tell is not None:
            self.tell(CircuitMessage(kind, circuit.scope))

    def _tell_open(self, circuit: Circuit, now: float) -> None:
        if self.tell is not None:
            seconds = max((circuit.until or now) - now, 0.0)
            self.tell(
                CircuitMessage(
                    "open",
                    circuit.scope,
                    seconds=seconds,
                    openings=circuit.openings,
                    opened_by=circuit.opened_by,
                    reason=circuit.reason,
                )
            )
