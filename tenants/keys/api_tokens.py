"""Make, find and revoke tokens of the management API.

What a token may do is never more than its maker may: that is checked when it is written, and each time it
is used against what the maker may then, in a session such as the one it was made in. One that another token
made has no more time than that, and ends with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q

from gateway_project.lib import clock
from gateway_project.lib.actor import Actor
from gateway_project.lib.prepared import PreparedQuery
from gateway_project.lib.secret import Secret
from tenants import validators
from tenants.access.access import NOBODY, OPERATOR, Access, access_of
from tenants.access.rights import Permissions
from tenants.access.scopes import ALL, permissions_of, scopes_of
from tenants.keys import fingerprints, key_format, peppers
from tenants.models import ApiToken, Tenant
from tenants.sign_in import token_demands

# Stands in the scope of a request that a token opened.
HOLDER = "tollgate.token_holder"
# How exactly is known when a token was last used: a write for each use would cost more than the use.
LAST_USED_EVERY = timedelta(minutes=1)
# Tokens that make tokens that make tokens: each use asks whether all of them are in force.
MOST_GENERATIONS = 4


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """A token that was valid when it was read, and what it may do. It is the `user` of a request."""

    token_id: int
    public_id: str
    name: str
    tenant_id: int | None
    tenant_slug: str | None
    maker_id: int | None
    access: Access
    # The support session in which its maker acts as a tenant, and why; see tenants/members/support.py.
    support_id: int | None = None
    reason: str = ""

    is_authenticated = True

    def actor(self, address: str) -> Actor:
        return Actor("token", self.public_id, self.name, address, self.reason)


def narrow(who: Access, scopes: Any, tenant_id: int | None) -> list[str]:
    """Return the scopes as they are stored: wildcards become what the maker may, and nothing is more than
    that. Raise ValidationError.
    """
    held = who.within(tenant_id)
    try:
        validators.validate_token_scopes(scopes)
    except ValidationError as error:
        raise ValidationError({"scopes": error.messages}) from error
    if not scopes:
        raise ValidationError({"scopes": "Name at least one; * is all that you may."})
    if who.is_operator and ALL in scopes:
        return [ALL]
    wild = permissions_of(scope for scope in scopes if ALL in scope) & held
    named = permissions_of(scope for scope in scopes if ALL not in scope)
    if beyond := scopes_of(named - held):
        raise ValidationError({"scopes": f"You may not do this yourself: {', '.join(beyond)}."})
    if not (found := scopes_of(wild | named)):
        raise ValidationError({"scopes": "You may do nothing of this yourself."})
    return found


def descend(token: ApiToken, maker: ApiToken) -> None:
    """Make an (unsaved) token one that another made: it ends with it. Raise ValidationError."""
    if len(list(_ancestors(maker))) >= MOST_GENERATIONS - 1:
        raise ValidationError("A token that was made by a token of a token of a token makes none.")
    token.made_by = maker.public_id
    if token.expires_at is None:
        token.expires_at = maker.expires_at


def refuse_longer(token: ApiToken, acting: ApiToken) -> None:
    """Let no token give itself, or another, more time than it has. Raise ValidationError."""
    is_longer = acting.expires_at is not None and (
        token.expires_at is None or token.expires_at > acting.expires_at
    )
    if is_longer:
        raise ValidationError(
            {"expires_at": "It must not be later than the end of your own token."}
        )


def _ancestors(token: ApiToken) -> Iterator[ApiToken | None]:
    """Yield the token that made it, and so on; None for one that is there no more."""
    made_by = token.made_by
    while made_by:
        maker = ApiToken.objects.select_related("tenant").filter(public_id=made_by).first()
        yield maker
        made_by = "" if maker is None else maker.made_by


def give_secret(token: ApiToken) -> Secret:
    """Put the digest of a new secret into an (unsaved) row, and return the token."""
    fingerprints.confirm(fingerprints.PEPPER, peppers.keyring())
    secret = key_format.new_token(token.public_id)
    token.digest, token.last_four = peppers.digest(secret), secret.last_four
    token.pepper_id, _ = peppers.keyring().current
    return secret


def create(
    who: Access,
    name: str,
    scopes: list[str],
    *,
    tenant: Tenant | None = None,
    expires_at: datetime | None = None,
    maker_id: int | None = None,
) -> tuple[ApiToken, Secret]:
    """Make a token, which is not kept and cannot be shown again. Raise ValidationError."""
    token = ApiToken(
        name=name,
        scopes=narrow(who, scopes, None if tenant is None else tenant.pk),
        tenant=tenant,
        expires_at=expires_at,
        created_by_id=maker_id,
    )
    secret = give_secret(token)
    token.full_clean()
    token.save()
    return token, secret


def revoke(token: ApiToken) -> None:
    """End a token at once. Revoking twice keeps the first time."""
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=clock.now())
    token.refresh_from_db()


_OF_DIGESTS = PreparedQuery(
    lambda digests: ApiToken.objects.select_related("tenant", "created_by").filter(
        digest__in=digests
    )[:1]
)
_OF_IDS = PreparedQuery(
    lambda public_id: ApiToken.objects.select_related("tenant", "created_by").filter(
        public_id=public_id
    )[:1]
)


def find(text: str) -> TokenHolder | None:
    """Return who holds a token; None if it is malformed, unknown, ended, revoked, or its maker may nothing
    of it any more, or no longer comes in as the tenant demands.
    """
    if not key_format.is_well_formed_token(text):
        return None
    by_digest = peppers.digests(text)
    token = next(iter(_OF_DIGESTS.rows(tuple(by_digest))), None)
    if token is None or not _is_active(token):
        return None
    access = _access(token)
    if access == NOBODY:
        return None
    _note_use(token, text)
    return TokenHolder(
        token.pk,
        token.public_id,
        token.name,
        token.tenant_id,
        token.tenant.slug if token.tenant is not None else None,
        token.created_by_id,
        access,
    )


def access_of_token(public_id: str) -> Access:
    """Return what a token may do now; nothing if it is not in force, or gone."""
    token = next(iter(_OF_IDS.rows(public_id)), None)
    return _access(token) if token is not None and _is_active(token) else NOBODY


def is_in_force(token: ApiToken) -> bool:
    """Tell whether requests with this token are let in now, whatever they ask for."""
    return _is_active(token) and _access(token) != NOBODY


def _is_active(token: ApiToken) -> bool:
    """Tell whether neither it has ended nor one that it comes from."""
    return _goes_on(token) and all(
        maker is not None and _goes_on(maker) for maker in _ancestors(token)
    )


def _goes_on(token: ApiToken) -> bool:
    is_of_active = token.tenant is None or token.tenant.status == Tenant.Status.ACTIVE
    has_ended = token.expires_at is not None and token.expires_at <= clock.now()
    return token.revoked_at is None and is_of_active and not has_ended


def _access(token: ApiToken) -> Access:
    """Return what the token may: its scopes, and no more than its maker may now."""
    maker = OPERATOR
    if token.created_by is not None:
        maker = token_demands.narrow(access_of(token.created_by), token)
    scopes = _known(token.scopes)
    if token.tenant_id is None:
        return Access(platform=scopes & maker.platform)
    held = scopes & maker.within(token.tenant_id)
    if not held or token.tenant is None:
        return NOBODY
    is_shown = token.tenant.shows_upstreams
    return Access(
        grants={token.tenant_id: held},
        aliases_only=frozenset() if is_shown else frozenset({token.tenant_id}),
    )


def _known(scopes: list[str]) -> Permissions:
    try:
        return permissions_of(scopes)
    except ValueError:  # of a later version, before an upgrade was taken back
        return frozenset()


def _note_use(token: ApiToken, text: str) -> None:
    """Note the time, at most once a minute, and move the digest to the current pepper."""
    now, pepper_id = clock.now(), peppers.keyring().current[0]
    if token.pepper_id != pepper_id:
        digest = peppers.digest(text)
        ApiToken.objects.filter(pk=token.pk).update(digest=digest, pepper_id=pepper_id)
    before = now - LAST_USED_EVERY
    if token.last_used_at is None or token.last_used_at <= before:
        unnoted = Q(last_used_at=None) | Q(last_used_at__lte=before)
        ApiToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=now)
