"""A request's right to run, answer and charge for the call behind an Idempotency-Key."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta

from gateway_project.lib import clock
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.errors import IdempotencyKeyLost
from responses_api.leases import Renewal
from responses_api.storage import idempotent_calls
from responses_api.storage.idempotent_calls import LEASE, Found
from responses_api.storage.keepers import write
from responses_api.storage.writer import Writer

# By so much the clocks of two hosts may differ.
CLOCKS_DIFFER = timedelta(seconds=2)


class Ownership:
    """Lost when another request took the key over, which it may once the lease has run out.

    Whoever cannot prove that the key is still theirs charges nothing: the other may be charging for its call.
    Nobody needs to be asked while the lease that was last confirmed runs.
    """

    __slots__ = ("_certain_until", "_on_loss", "_writer", "call", "is_lost")

    def __init__(
        self, writer: Writer, call: Found, claimed_at: float, on_loss: Callable[[], object]
    ) -> None:
        """`claimed_at` is before the claim was written. `on_loss` is called from any thread."""
        self._writer = writer
        self._on_loss = on_loss
        self.call = call
        self.is_lost = False
        self._certain_until = 0.0
        self.confirm(claimed_at)

    @property
    def holds(self) -> bool:
        return not self.is_lost and clock.timestamp() < self._certain_until

    async def prove(self) -> None:
        """Ask the database if need be. Raises IdempotencyKeyLost; where there is no answer nobody knows."""
        if self.holds:
            return
        asked_at = clock.timestamp()
        with contextlib.suppress(StoreUnavailable):
            renewed = await write(self._writer, idempotent_calls.Renewal([self.call]))
            self.learn(asked_at, renewed)
        if self.is_lost:
            raise IdempotencyKeyLost

    def learn(self, asked_at: float, renewed: frozenset[str]) -> None:
        """What a renewal found that was begun at `asked_at`. From any thread."""
        if self.call.owner in renewed:
            self.confirm(asked_at)
        elif not self.is_lost:
            self.is_lost = True
            with contextlib.suppress(
                RuntimeError
            ):  # the loop has been closed: nobody is left to tell
                self._on_loss()

    def confirm(self, at: float) -> None:
        self._certain_until = at + (LEASE - CLOCKS_DIFFER).total_seconds()


def renewal(owned: list[Ownership]) -> Renewal | None:
    """Of all these, where there are any."""
    if not owned:
        return None
    asked_at = clock.timestamp()

    def told(renewed: frozenset[str] | None) -> None:
        if renewed is not None:
            for each in owned:
                each.learn(asked_at, renewed)

    return Renewal(idempotent_calls.Renewal([each.call for each in owned]), told)
