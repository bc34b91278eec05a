"""Tell whether a person can get into a tenant at all, whatever session they have now.

`demands.py` asks this of a session and `token_demands.py` of a token; this is for what outlives both.
"""

from __future__ import annotations

from tenants.models import ExternalIdentity, IdentityProvider, Tenant
from tenants.sign_in.factors import has_one


def is_open(user_id: int, tenant: Tenant) -> bool:
    """Tell whether a session of this person could meet what the tenant demands."""
    if not (tenant.requires_identity_provider or tenant.requires_second_factor):
        return True
    if not tenant.requires_identity_provider and has_one(user_id):
        return True
    return _is_vouched_for(user_id, tenant)


def _is_vouched_for(user_id: int, tenant: Tenant) -> bool:
    """Tell whether a provider of the tenant, which demands no more than that, knows the person."""
    issuers = IdentityProvider.objects.filter(tenant=tenant, enabled=True).values("issuer")
    known = ExternalIdentity.objects.filter(issuer__in=issuers, kept_as_owner_at=None)
    return known.filter(user=user_id).exists()
