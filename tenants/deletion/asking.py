"""Ask for the deletion of a tenant: what ends at once, and what the job then works on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.core.exceptions import PermissionDenied, ValidationError

from gateway_project.lib import actor, clock, ids
from gateway_project.lib.db import durable_transaction
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.models import ApiKey, Tenant, TenantDeletion

REASON = "Its tenant is deleted."
_endings: list[Callable[[int], None]] = []


def add_ending(end: Callable[[int], None]) -> None:
    """Call `end` with the id of each tenant whose deletion is asked for, in that transaction."""
    _endings.append(end)


def ask(tenant: Tenant, access: Access, *, typed_slug: str) -> TenantDeletion:
    """Begin to delete a tenant, for good; to ask again changes nothing.

    Its keys are refused within a second, its sockets close, its background calls end. `typed_slug` is the
    slug as the person typed it. Raise PermissionDenied, or ValidationError if that is another.
    """
    check_right(tenant, access)
    if typed_slug != tenant.slug:
        raise ValidationError({"slug": f"Type {tenant.slug!r} to delete this tenant."})
    with durable_transaction():
        Tenant.objects.select_for_update().get(pk=tenant.pk)
        begun = TenantDeletion.objects.filter(tenant=tenant).first()
        return begun or _begin(tenant, clock.now())


def refuse_new_rows(tenant_id: int | None) -> None:
    """Raise ValidationError if the tenant is being deleted: what is made for it now might stay for ever."""
    if tenant_id is not None and is_asked(tenant_id):
        raise ValidationError({"tenant": "This tenant is deleted. Nothing new can be made for it."})


def is_asked(tenant_id: int) -> bool:
    """Tell whether the tenant is being deleted, or was."""
    return TenantDeletion.objects.filter(tenant=tenant_id).exists()


def check_right(tenant: Tenant, access: Access) -> None:
    if not access.may("delete", Area.TENANT, tenant.pk):
        raise PermissionDenied("Only operators of the platform may delete or suspend a tenant.")


def _begin(tenant: Tenant, now: datetime) -> TenantDeletion:
    # The tenant first: the database keeps it suspended from the moment there is a deletion.
    Tenant.objects.filter(pk=tenant.pk).update(status=Tenant.Status.SUSPENDED)
    keys = ApiKey.objects.filter(tenant=tenant, revoked_at=None)
    keys.update(revoked_at=now, revoked_reason=REASON)
    for end in _endings:
        end(tenant.pk)
    return TenantDeletion.objects.create(
        tenant=tenant,
        asked_by=actor.current().name,
        asked_at=now,
        tombstone=free_slug(tenant.pk),
        next_sweep_at=now,
    )


def free_slug(tenant_id: int) -> str:
    """Return a slug for the row that stays, which no tenant has."""
    slug = f"deleted-{tenant_id}"
    while Tenant.objects.filter(slug=slug).exists():
        slug = f"deleted-{tenant_id}-{ids.base62(6).lower()}"
    return slug
