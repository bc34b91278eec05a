"""Look at the circuits of all workers, and close one by hand.

Open circuits are in Redis, where every worker tells of them (routing/health/sharing.py). Without Redis only
those of this worker are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from gateway_project.lib import actor, errors
from gateway_project.lib.actor import Actor
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.secret import Secret
from responses_api.live.in_flight import Reach
from routing.health import scopes
from routing.health.messages import CircuitMessage
from routing.health.table import LaneTable, OpenCircuit
from routing.models import Credential, Provider
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.audit import events

MOST_NAME = 1000


@dataclass(frozen=True, slots=True)
class ShownCircuit:
    """An open circuit that one person, or token, is shown. `credential` is its account's name."""

    open: OpenCircuit
    credential: str
    may_reset: bool

    @property
    def name(self) -> str:
        return self.open.scope.name

    @property
    def fields(self) -> dict[str, Any]:
        """Return what programs are told of it."""
        scope = self.open.scope
        return {
            "circuit": self.name,
            "kind": scope.kind,
            "provider": scope.provider,
            "model": scope.model,
            "credential": self.credential,
            "opened_by": self.open.opened_by,
            "reason": self.open.reason,
            "openings": self.open.openings,
            "seconds": round(self.open.seconds, 1),
        }


@dataclass(frozen=True, slots=True)
class ShownCircuits:
    """The open circuits, and who was asked for them."""

    circuits: tuple[ShownCircuit, ...]
    reach: Reach


class Circuits:
    """The circuits of all workers, seen from one of them or, without `table`, from outside."""

    def __init__(self, table: LaneTable | None, redis_url: Secret | None) -> None:
        self._table = table
        self._redis_url = redis_url

    async def look(self) -> tuple[list[OpenCircuit], Reach]:
        """Return the open circuits, and of whom."""
        found = None
        if self._redis_url is not None:
            from routing.health import sharing  # noqa: PLC0415  # redis only where it is used

            found = await sharing.look(self._redis_url)
        if found is not None:
            read = (_open_circuit(message) for message in found)
            return [each for each in read if each is not None], "all"
        here = [] if self._table is None else self._table.open_circuits()
        return here, "alone" if self._redis_url is None else "cut_off"

    async def close(self, name: str) -> None:
        """Close a circuit everywhere it is known."""
        if self._table is not None:
            self._table.reset(name)
        elif self._redis_url is not None:
            from routing.health import sharing  # noqa: PLC0415  # as above

            await sharing.close(self._redis_url, name)


async def see(circuits: Circuits, who: Access) -> ShownCircuits:
    """Return the open circuits of the providers that they may see, the longest first."""
    found, reach = await circuits.look()
    shown = await in_database_thread(_shown, found, who)
    return ShownCircuits(tuple(sorted(shown, key=lambda each: -each.open.seconds)), reach)


async def reset(circuits: Circuits, who: Access, name: str) -> ShownCircuit:
    """Close a circuit, and record who did. Raise NotFound, or PermissionDenied."""
    scope = scopes.read_scope(name) if len(name) <= MOST_NAME else None
    found, _ = await circuits.look()
    is_open = [each for each in found if each.scope == scope]
    shown = await in_database_thread(_shown, is_open, who)
    if not shown:
        raise errors.NotFound("No such circuit is open: it may have closed just now.")
    if not shown[0].may_reset:
        raise errors.PermissionDenied("This takes the right to change the provider.")
    # First: nothing is closed that could not be recorded.
    await in_database_thread(_record, shown[0], actor.current())
    await circuits.close(name)
    return shown[0]


def _shown(found: list[OpenCircuit], who: Access) -> list[ShownCircuit]:
    """Return those whose provider they may see."""
    owners = dict(
        Provider.objects.filter(pk__in={each.scope.provider_id for each in found}).values_list(
            "pk", "tenant_id"
        )
    )
    accounts = {made for each in found if (made := _id(each.scope.credential)) is not None}
    named = {row.pk: row.name for row in Credential.objects.filter(pk__in=accounts)}
    shown = []
    for each in found:
        provider_id = each.scope.provider_id
        if provider_id in owners and who.may("view", Area.PROVIDERS, owners[provider_id]):
            may_reset = who.may("change", Area.PROVIDERS, owners[provider_id])
            account = _id(each.scope.credential)
            name = "" if account is None else named.get(account, "")
            shown.append(ShownCircuit(each, name, may_reset))
    return shown


def _id(text: str) -> UUID | None:
    """Read the id of a credential; None where there is none."""
    try:
        return UUID(text)
    except ValueError:
        return None


@transaction.atomic
def _record(circuit: ShownCircuit, who: Actor) -> None:
    scope = circuit.open.scope
    owner = Provider.objects.filter(pk=scope.provider_id).values_list("tenant_id", flat=True)
    events.record(
        "circuit.reset",
        tenant_id=owner.first(),
        object_type="circuit",
        object_id=circuit.name,
        object_name="/".join(each for each in (scope.provider, scope.model) if each),
        details={"reason": circuit.open.reason, "openings": circuit.open.openings},
        actor=who,
    )


def _open_circuit(message: CircuitMessage) -> OpenCircuit | None:
    scope = scopes.read_scope(message.scope)
    if scope is None:
        return None
    return OpenCircuit(scope, message.seconds, message.openings, message.opened_by, message.reason)
