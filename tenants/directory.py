"""Tenants and keys by the names people type; errors name the field and what to do."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.utils.text import slugify

from tenants.models import ApiKey, Tenant


def create(
    name: str,
    *,
    slug: str = "",
    time_zone: str = "UTC",
    store_by_default: bool = True,
    retention_days: int = 30,
) -> Tenant:
    """A new tenant. Without a slug one is made from the name."""
    tenant = Tenant(
        name=name,
        slug=slug or slugify(name)[:63],
        time_zone=time_zone,
        store_by_default=store_by_default,
        retention_days=retention_days,
    )
    if not tenant.slug:
        raise ValidationError({"slug": f"None can be made from {name!r}; give one with --slug."})
    if Tenant.objects.filter(slug=tenant.slug).exists():
        raise ValidationError(
            {"slug": f"A tenant {tenant.slug!r} exists already; choose another with --slug."}
        )
    tenant.full_clean()
    tenant.save()
    return tenant


def tenant(name: str) -> Tenant:
    """The tenant with this slug or, if there is none and it is the only one, with this name."""
    found = Tenant.objects.filter(slug=name).first()
    if found is not None:
        return found
    named = list(Tenant.objects.filter(name=name)[:2])
    if len(named) != 1:
        known = ", ".join(Tenant.objects.values_list("slug", flat=True)[:10]) or "none yet"
        raise ValidationError(
            {
                "tenant": f"There is no tenant {name!r}. Known are: {known}. Make one with create_tenant."
            }
        )
    return named[0]


def tenant_or_platform(name: str | None) -> Tenant | None:
    """The tenant of this name; None, which is the platform, without a name."""
    return tenant(name) if name else None


def key(public_id: str) -> ApiKey:
    """The key with this id, as create_key printed it."""
    found = ApiKey.objects.filter(public_id=public_id).first()
    if found is None:
        raise ValidationError(
            {
                "id": "There is no key with this id. The id is the part of a key between 'tg_live_' and the "
                "next '_', ten letters and digits; the console lists it as 'Public id'."
            }
        )
    return found
