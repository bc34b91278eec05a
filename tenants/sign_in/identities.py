"""Find out who comes from an identity provider, and what they are in its tenant.

Somebody is who the pair of issuer and subject says. A mail address, a user name or a group never leads to
an account that exists.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway_project.lib import clock, ids, sealing
from gateway_project.lib.secret import Secret
from tenants.access.rights import ROLES
from tenants.audit import events
from tenants.deletion.asking import is_asked
from tenants.keys import fingerprints
from tenants.keys.encryption import keyring
from tenants.models import ExternalIdentity, IdentityProvider, Membership
from tenants.models.members import LastOwner
from tenants.sign_in.oidc import Client, IdentityRefused

logger = logging.getLogger("tollgate.sign_in")

_STRANGE = re.compile(r"[^\w.@+-]+")
NO_OTHER_OWNER = gettext_lazy(
    "Your groups let you in no longer, but you are the tenant's last owner. Ask an operator to make somebody "
    "else an owner."
)


def client_of(provider: IdentityProvider) -> Client:
    """Return what the provider knows us by. Raise SealError or KeyringError."""
    secret = None
    if provider.sealed_secret:
        secret = sealing.unseal(provider.sealed_secret, _place(provider), keyring())
    return Client(
        provider.issuer,
        provider.client_id,
        secret,
        allow_private=provider.allow_private_network and provider.tenant_id is None,
    )


def set_secret(provider: IdentityProvider, secret: Secret) -> None:
    """Seal the client's secret into the (unsaved) row, for this issuer alone."""
    fingerprints.confirm(fingerprints.ENCRYPTION, keyring())
    provider.sealed_secret = sealing.seal(secret, _place(provider), keyring())
    provider.last_four = secret.last_four


def enter(provider: IdentityProvider, claims: Mapping[str, Any]) -> User:
    """Return the person these claims are about, made a member where the provider may do that.

    Raise IdentityRefused. Who is refused because their groups are gone has lost their membership all the
    same.
    """
    identity = _settle(provider, claims)
    if identity.kept_as_owner_at is not None and not role_from(provider, claims):
        raise IdentityRefused(str(NO_OTHER_OWNER))
    _refuse_strangers(provider, identity)
    return identity.user


@transaction.atomic
def _settle(provider: IdentityProvider, claims: Mapping[str, Any]) -> ExternalIdentity:
    """Bring identity and membership to what the claims say now."""
    known = ExternalIdentity.objects.select_for_update().select_related("user")
    identity = known.filter(issuer=provider.issuer, subject=claims["sub"]).first()
    if identity is None:
        identity = _make(provider, claims)
    elif identity.member_of is not None and identity.member_of == provider.tenant_id:
        _follow_groups(provider, identity, claims)
    identity.shown_as, identity.last_used_at = _shown_as(claims), clock.now()
    identity.save(update_fields=["shown_as", "last_used_at", "kept_as_owner_at"])
    return identity


def role_from(provider: IdentityProvider, claims: Mapping[str, Any]) -> str:
    """Return the role the groups give, never above the maximum; empty for none."""
    groups = claims.get(provider.group_claim) if provider.group_claim else None
    listed = groups if isinstance(groups, list) else [groups]
    named = [provider.group_roles.get(group) for group in listed if isinstance(group, str)]
    given = [_capped(role, provider.maximum_role) for role in named if role in ROLES]
    if not any(given) and provider.default_role:
        given = [_capped(provider.default_role, provider.maximum_role)]
    return max(filter(None, given), key=lambda role: len(ROLES[role]), default="")


def rewrap_all() -> int:
    """Seal every client's secret with the current key and return how many changed. Safe to repeat."""
    current, _ = keyring().current
    return sum(_rewrap(row.pk, current) for row in list(IdentityProvider.objects.only("pk")))


@transaction.atomic
def _rewrap(pk: Any, current: str) -> int:
    row = (
        IdentityProvider.objects.select_for_update().filter(pk=pk).exclude(sealed_secret="").first()
    )
    if row is None or sealing.key_id_of(row.sealed_secret) == current:
        return 0
    plain = sealing.unseal(row.sealed_secret, _place(row), keyring())
    row.sealed_secret = sealing.seal(plain, _place(row), keyring())
    row.save(update_fields=["sealed_secret"])
    return 1


def _capped(role: str, maximum: str) -> str:
    """Return the role, or the maximum where it holds more than that; empty where neither fits."""
    if ROLES[role] <= ROLES[maximum]:
        return role
    return maximum if ROLES[maximum] <= ROLES[role] else ""


def _make(provider: IdentityProvider, claims: Mapping[str, Any]) -> ExternalIdentity:
    role = role_from(provider, claims)
    if provider.tenant is None or not provider.creates_members or not role:
        raise _unknown(provider, claims["sub"])
    if is_asked(provider.tenant.pk):
        raise _unknown(provider, claims["sub"])
    user = User(username=_free_name(claims), is_staff=True)
    user.set_unusable_password()
    user.save()
    Membership.objects.create(tenant=provider.tenant, user=user, role=role)
    return ExternalIdentity.objects.create(
        issuer=provider.issuer, subject=claims["sub"], user=user, member_of=provider.tenant_id
    )


def _follow_groups(
    provider: IdentityProvider, identity: ExternalIdentity, claims: Mapping[str, Any]
) -> None:
    """Give the membership that the provider made the role it has for it now."""
    membership = Membership.objects.filter(tenant=provider.tenant_id, user=identity.user).first()
    if membership is None:
        return  # somebody removed them here, which the provider does not undo
    role = role_from(provider, claims)
    try:
        with transaction.atomic():
            _give(membership, role)
    except LastOwner:
        _keep_owner(identity, membership, role)
    else:
        identity.kept_as_owner_at = None


def _give(membership: Membership, role: str) -> None:
    """Give the role, also in place of one of the tenant's own; without one they are out. Raise LastOwner."""
    if not role:
        membership.delete()
    elif membership.role != role:
        membership.role, membership.custom_role = role, None
        membership.save(update_fields=["role", "custom_role"])


def _keep_owner(identity: ExternalIdentity, membership: Membership, role: str) -> None:
    """Leave a tenant its last owner, and tell operators, who have to find another."""
    if identity.kept_as_owner_at is not None:
        return
    identity.kept_as_owner_at = clock.now()
    events.record(
        "membership.kept",
        tenant_id=membership.tenant_id,
        row=Membership.objects.get(tenant=membership.tenant_id, user=identity.user),
        details={"groups_give": role or "nothing"},
    )
    logger.warning("tenant %s keeps its last owner against its groups", membership.tenant_id)


def _refuse_strangers(provider: IdentityProvider, identity: ExternalIdentity) -> None:
    """Refuse whoever would see nothing: a tenant's provider lets in its members."""
    if provider.tenant_id is None:
        return
    if not Membership.objects.filter(tenant=provider.tenant_id, user=identity.user).exists():
        raise _unknown(provider, identity.subject)


def _unknown(provider: IdentityProvider, subject: str) -> IdentityRefused:
    if provider.tenant is None:
        text = _(
            "This console does not know you yet. Ask an operator to let you in; the provider calls you "
            "“%(subject)s”."
        )
        return IdentityRefused(text % {"subject": subject})
    text = _(
        "This console does not know you yet. Ask an owner of %(tenant)s to let you in; the provider calls "
        "you “%(subject)s”."
    )
    return IdentityRefused(text % {"tenant": provider.tenant.name, "subject": subject})


def _shown_as(claims: Mapping[str, Any]) -> str:
    for name in ("email", "preferred_username", "name"):
        if isinstance(claims.get(name), str):
            return str(claims[name])[:200]
    return ""


def _free_name(claims: Mapping[str, Any]) -> str:
    """Return a user name nobody has. It only names the person; nobody signs in with it."""
    wanted = _STRANGE.sub("-", _shown_as(claims) or str(claims["sub"])).strip("-")[:100] or "member"
    while User.objects.filter(username=wanted).exists():
        wanted = f"{wanted[:100]}-{ids.base62(4).lower()}"
    return wanted


def _place(provider: IdentityProvider) -> str:
    tenant = provider.tenant_id or "platform"
    return f"tenants_identityprovider|sealed_secret|{tenant}|{provider.pk}|{provider.issuer}"
