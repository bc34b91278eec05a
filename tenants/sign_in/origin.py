"""Remember through whose identity provider a session came, and what it may therefore do."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.contrib.sessions.backends.base import SessionBase

from tenants.models import IdentityProvider

ORIGIN = "tollgate.origin"


@dataclass(frozen=True, slots=True)
class Origin:
    """The identity provider a session came through; `tenant` is None for the platform's."""

    provider: UUID
    tenant: int | None


def mark(session: SessionBase, provider: IdentityProvider, user_id: int) -> None:
    """Bind the session to the provider before anybody is signed in to it.

    The mark outlives a second factor's page, and holds for this person alone.
    """
    session[ORIGIN] = [str(provider.pk), provider.tenant_id, user_id]


def drop_if_anothers(session: SessionBase, user_id: int) -> None:
    """Forget the mark of a sign-in that somebody else did not complete."""
    marked = session.get(ORIGIN)
    if marked is not None and marked[2] != user_id:
        del session[ORIGIN]


def of(session: SessionBase) -> Origin | None:
    """Return the origin of a session; None if it came through no identity provider."""
    marked = session.get(ORIGIN)
    return None if marked is None else Origin(UUID(marked[0]), marked[1])


def is_trusted(origin: Origin) -> bool:
    """Tell whether the provider may still speak for whom it sent."""
    rows = IdentityProvider.objects.filter(pk=origin.provider, tenant=origin.tenant, enabled=True)
    return rows.exists()
