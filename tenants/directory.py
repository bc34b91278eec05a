"""Find tenants, keys and people by the names that are typed; errors name the field and what to do."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils.text import slugify

from tenants.models import ApiKey, Membership, Tenant


def create(
    name: str,
    *,
    slug: str = "",
    time_zone: str = "UTC",
    store_by_default: bool = True,
    retention_days: int = 30,
) -> Tenant:
    """Create a tenant. Without a slug one is derived from the name."""
    tenant = Tenant(
        name=name,
        slug=slug or slugify(name)[:63],
        time_zone=time_zone,
        store_by_default=store_by_default,
        retention_days=retention_days,
    )
    if not tenant.slug:
        raise ValidationError(
            {"slug": f"No slug can be derived from {name!r}; give one with --slug."}
        )
    if Tenant.objects.filter(slug=tenant.slug).exists():
        raise ValidationError(
            {"slug": f"Tenant {tenant.slug!r} already exists; choose another with --slug."}
        )
    tenant.full_clean()
    tenant.save()
    return tenant


def tenant(name: str) -> Tenant:
    """Return the tenant with this slug or, if it is unambiguous, with this name."""
    found = Tenant.objects.filter(slug=name).first()
    if found is not None:
        return found
    named = list(Tenant.objects.filter(name=name)[:2])
    if len(named) != 1:
        known = ", ".join(Tenant.objects.values_list("slug", flat=True)[:10]) or "none yet"
        raise ValidationError(
            {
                "tenant": f"There is no tenant {name!r}. Known tenants: {known}. "
                "Create one with create_tenant."
            }
        )
    return named[0]


def by_slug(slug: str) -> Tenant:
    """Return the tenant with exactly this slug, for what must not hit another of a like name."""
    found = Tenant.objects.filter(slug=slug).first()
    if found is None:
        known = ", ".join(Tenant.objects.values_list("slug", flat=True)[:10]) or "none yet"
        raise ValidationError({"slug": f"There is no tenant {slug!r}. Known tenants: {known}."})
    return found


def tenant_or_platform(name: str | None) -> Tenant | None:
    """Return the tenant of this name; without a name None, which is the platform."""
    return tenant(name) if name else None


def key(public_id: str) -> ApiKey:
    """Return the key with this id, as create_key printed it."""
    found = ApiKey.objects.filter(public_id=public_id).first()
    if found is None:
        raise ValidationError(
            {
                "id": "There is no key with this id. The id is the part of a key between 'tg_live_' and the "
                "next '_', ten letters and digits; the console lists it as 'Public id'."
            }
        )
    return found


def user(username: str) -> User:
    """Return the account of this name."""
    found = User.objects.filter(username=username).first()
    if found is None:
        message = f"There is no account {username!r}. Invite its person instead: manage.py invite."
        raise ValidationError({"username": message})
    return found


def member(of: Tenant, username: str) -> Membership:
    """Return the membership of this account in a tenant."""
    found = Membership.objects.filter(tenant=of, user=user(username)).first()
    if found is None:
        message = f"{username!r} is not a member of {of.slug!r}. Add them with add_member."
        raise ValidationError({"username": message})
    return found
