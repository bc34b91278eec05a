"""Find tenants whose only owner is one that their identity provider would not let be one any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tenants.models import ExternalIdentity, Membership


@dataclass(frozen=True, slots=True)
class KeptOwner:
    """An owner of a tenant, whose groups at its identity provider give less since then."""

    tenant_id: int
    slug: str
    username: str
    since: datetime


def kept_owners() -> list[KeptOwner]:
    """Return those who are still their tenant's only owner; an operator has to find another."""
    rows = ExternalIdentity.objects.filter(kept_as_owner_at__isnull=False, member_of__isnull=False)
    found = []
    for identity in rows.select_related("user").order_by("kept_as_owner_at"):
        owners = Membership.objects.filter(tenant=identity.member_of, role="owner")
        living = list(owners.filter(user__is_active=True).select_related("tenant")[:2])
        if [each.user_id for each in living] == [identity.user_id]:
            assert identity.kept_as_owner_at is not None
            found.append(
                KeptOwner(
                    living[0].tenant_id,
                    living[0].tenant.slug,
                    identity.user.get_username(),
                    identity.kept_as_owner_at,
                )
            )
    return found
