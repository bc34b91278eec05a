"""Find tenants whose only owner is one that their identity provider would not let be one any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet, Subquery

from tenants.models import ExternalIdentity, Membership, Tenant


@dataclass(frozen=True, slots=True)
class KeptOwner:
    """An owner of a tenant, whose groups at its identity provider give less since then."""

    tenant_id: int
    slug: str
    username: str
    since: datetime


FIELDS = ("member_of", "slug", "user__username", "kept_as_owner_at")


def kept_owners() -> list[KeptOwner]:
    """Return those who are still their tenant's only owner; an operator has to find another."""
    return [KeptOwner(*row) for row in kept().values_list(*FIELDS)]


def kept() -> QuerySet[ExternalIdentity]:
    """Ask for them; the FIELDS of a row make a KeptOwner."""
    owners = Membership.objects.filter(
        tenant=OuterRef("member_of"), role="owner", user__is_active=True
    )
    return (
        ExternalIdentity.objects.filter(
            Exists(owners.filter(user=OuterRef("user"))),
            ~Exists(owners.exclude(user=OuterRef("user"))),
            kept_as_owner_at__isnull=False,
        )
        .annotate(slug=Subquery(Tenant.objects.filter(pk=OuterRef("member_of")).values("slug")))
        .order_by("kept_as_owner_at")
    )
