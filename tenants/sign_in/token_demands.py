"""Hold API tokens to what sessions are held to: how their makers came in, and what tenants demand of them.

A token notes what its maker's session had when it was made. It stops working once a session like that would
be worth nothing any more: its identity provider is disabled, the maker is nobody there, their second factor
is gone, or their tenant demands more than they proved. `demands.py` says the same of sessions.
"""

from __future__ import annotations

from dataclasses import replace

from django.http import HttpRequest

from tenants.access.access import NOBODY, Access
from tenants.access.rights import NONE
from tenants.models import ApiToken, ExternalIdentity, IdentityProvider
from tenants.sign_in import origin
from tenants.sign_in.factors import has_one


def note_proof(token: ApiToken, request: HttpRequest) -> None:
    """Note in an (unsaved) token what the session has in which it is made."""
    came = origin.of(request.session)
    token.made_with_factor = has_one(request.user.pk or 0)
    token.made_through = None if came is None else came.provider


def inherit_proof(token: ApiToken, maker: ApiToken) -> None:
    """Note in an (unsaved) token that another one made it, which proved no more than this."""
    token.made_with_factor, token.made_through = maker.made_with_factor, maker.made_through


def narrow(access: Access, token: ApiToken) -> Access:
    """Return what of its maker's access a token may use."""
    if token.made_through is not None:
        provider = IdentityProvider.objects.filter(pk=token.made_through, enabled=True).first()
        if provider is None:
            return NOBODY
        if provider.tenant_id is not None:
            return _within(access, provider.tenant_id, provider.issuer, token)
    if token.tenant_id not in access.grants or not _is_closed(token):
        return access
    return replace(access, grants={})


def _within(access: Access, tenant_id: int, issuer: str, token: ApiToken) -> Access:
    """Return the rights in the provider's tenant, as long as it vouches for the maker, and never an
    operator's.
    """
    known = ExternalIdentity.objects.filter(
        issuer=issuer, user=token.created_by_id, kept_as_owner_at=None
    )
    held = access.grants.get(tenant_id)
    if held is None or not known.exists():
        return NOBODY
    return replace(access, platform=NONE, grants={tenant_id: held})


def _is_closed(token: ApiToken) -> bool:
    """Tell whether the token's tenant demands more than its maker has, or had when they made it."""
    tenant = token.tenant
    if tenant is None:
        return False
    if tenant.requires_identity_provider:
        return True  # tokens made through the tenant's provider do not come here
    if not tenant.requires_second_factor:
        return False
    return not (token.made_with_factor and has_one(token.created_by_id or 0))
