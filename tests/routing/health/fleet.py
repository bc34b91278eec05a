"""Several processes with circuits of their own, and the messages between them, without Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from routing.health.callers import CallerId
from routing.health.messages import CircuitMessage
from routing.health.table import LaneTable
from routing.route import Quirks, ResolvedTarget


class Fleet:
    """Tables that hear each other at once. `now` is everybody's clock."""

    def __init__(self, count: int) -> None:
        self.now = 1000.0
        self.said: list[CircuitMessage] = []
        self._leases: dict[str, float] = {}
        self.tables = [self._table(number) for number in range(count)]

    def _table(self, number: int) -> LaneTable:
        table = LaneTable(failure_seconds=60.0, chance=lambda: 0.5, now=lambda: self.now)

        def tell(message: CircuitMessage) -> None:
            self.said.append(message)
            if message.kind in {"open", "close"}:
                self._leases.pop(message.scope, None)
            for place, other in enumerate(self.tables):
                if place != number:
                    other.hear(message)

        async def lease(scopes: Sequence[str], seconds: float) -> bool:
            if any(self._leases.get(scope, 0.0) > self.now for scope in scopes):
                return False
            self._leases |= dict.fromkeys(scopes, self.now + seconds)
            return True

        def give_back(scopes: Sequence[str]) -> None:
            for scope in scopes:
                self._leases.pop(scope, None)

        table.tell, table.lease, table.give_back = tell, lease, give_back
        return table


def caller(number: int) -> CallerId:
    return CallerId(number, number)


def lane(
    provider: str = "alpha", model: str = "m", credential: str = "c", **fields: Any
) -> ResolvedTarget:
    return ResolvedTarget(
        provider=provider,
        protocol="chat",
        base_url="http://localhost/v1",
        auth_kind="none",
        secret=None,
        owns_credential=False,
        missing_credential=False,
        allow_private_network=True,
        quirks=Quirks(),
        model=model,
        context_window=None,
        max_output_tokens=None,
        capabilities=frozenset(),
        credential_id=credential,
        **fields,
    )
