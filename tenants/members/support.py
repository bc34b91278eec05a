"""Let operators act as a tenant: with a reason, in one of its roles, and for a limited time.

The row is what counts: it says who, as what, why and until when, and is kept. The browser's session, or a
header of a program's requests, holds its id; another person's, or one after its end, finds nothing by it.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied

from gateway_project.lib import clock
from tenants.access.access import Access
from tenants.deletion.asking import refuse_new_rows
from tenants.models import SupportSession, Tenant


def start(
    who: Access, operator: AbstractBaseUser, tenant: Tenant, *, role: str, reason: str
) -> SupportSession:
    """Begin to act as a tenant; what was begun before ends."""
    if not who.is_operator:
        raise PermissionDenied
    refuse_new_rows(tenant.pk)
    now = clock.now()
    session = SupportSession(
        tenant=tenant,
        operator=operator,  # type: ignore[misc]  # any user model
        operator_name=operator.get_username(),
        role=role,
        reason=reason.strip(),
        started_at=now,
        ends_at=now + timedelta(minutes=settings.SUPPORT_MINUTES),
    )
    session.full_clean()
    for other in SupportSession.objects.filter(operator=operator.pk, ends_at__gt=now):
        end(other)
    session.save()
    return session


def end(session: SupportSession) -> None:
    """End it now, if it has not ended."""
    if session.ends_at > (now := clock.now()):
        session.ends_at = now
        session.save(update_fields=["ends_at"])


def session_of(operator_id: int | None, text: str) -> SupportSession | None:
    """Return the session of this id, as a program sends it, if it is theirs and has not ended."""
    if operator_id is None or not (text.isascii() and text.isdigit() and len(text) < 19):
        return None
    rows = SupportSession.objects.select_related("tenant")
    return rows.filter(pk=int(text), operator=operator_id, ends_at__gt=clock.now()).first()


def find(key: int, operator: AbstractBaseUser) -> SupportSession | None:
    """Return the session of this id if it is theirs and has not ended."""
    return session_of(operator.pk, str(key))
