"""Suspend tenants and let them go on: a suspended tenant's keys are refused within a second."""

from __future__ import annotations

from django.core.exceptions import ValidationError

from tenants.access.access import Access
from tenants.deletion.asking import check_right
from tenants.models import Tenant, TenantDeletion


def suspend(tenant: Tenant, access: Access) -> None:
    """Refuse a tenant's keys until it is resumed. Raise PermissionDenied."""
    _set(tenant, Tenant.Status.SUSPENDED, access)


def resume(tenant: Tenant, access: Access) -> None:
    """Let a suspended tenant's keys in again. Raise PermissionDenied, or ValidationError if it is deleted."""
    if TenantDeletion.objects.filter(tenant=tenant).exists():
        raise ValidationError({"tenant": f"Tenant {tenant.slug!r} is being deleted for good."})
    _set(tenant, Tenant.Status.ACTIVE, access)


def _set(tenant: Tenant, status: Tenant.Status, access: Access) -> None:
    check_right(tenant, access)
    tenant.status = status
    tenant.save(update_fields=["status"])
