"""Prove a request's right to run, answer and charge for the call behind an Idempotency-Key."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta

from gateway_project.lib import clock
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.errors import IdempotencyKeyLost
from gateway_project.lib.renewals import Renewal
from gateway_project.lib.writer import Writer
from responses_api.storage import idempotent_calls
from responses_api.storage.idempotent_calls import LEASE, Found
from responses_api.storage.stores import write

# The clocks of two hosts may differ by this much.
CLOCKS_DIFFER = timedelta(seconds=2)


class Ownership:
    """A request's ownership of a key; lost when another request takes the key over, which it may once the
    lease has expired.

    A request that cannot prove that it still owns the key charges nothing: another may be charging for its
    call. No query is needed while the last confirmed lease runs.
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
        """Prove the ownership, asking the database if necessary. Raise IdempotencyKeyLost, also if the
        database does not answer, as nobody knows then."""
        if self.holds:
            return
        asked_at = clock.timestamp()
        with contextlib.suppress(StoreUnavailable):
            renewed = await write(self._writer, idempotent_calls.KeyRenewal([self.call]))
            self.learn(asked_at, renewed)
        if self.is_lost:
            raise IdempotencyKeyLost

    def learn(self, asked_at: float, renewed: frozenset[str]) -> None:
        """Take note of a renewal that was begun at `asked_at`. Callable from any thread."""
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
    """Return the renewal of all these; None if there are none."""
    if not owned:
        return None
    asked_at = clock.timestamp()

    def told(renewed: frozenset[str] | None) -> None:
        if renewed is not None:
            for each in owned:
                each.learn(asked_at, renewed)

    return Renewal(idempotent_calls.KeyRenewal([each.call for each in owned]), told)
