"""Invite people to a tenant by a link that works once, and let them in by it.

    …/console/invitations/tg_inv_<32 base62, about 190 bits>/

Whoever holds the link may use it, whatever address it was sent to. It gives its role only as long as the
person who made it could give that role away, and the token, if it was made with one.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

from django.contrib.auth.models import AbstractBaseUser, User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.dispatch import Signal

from gateway_project.lib import actor, clock, ids
from gateway_project.lib.secret import Secret
from tenants.access.access import NOBODY, OPERATOR, Access, access_of
from tenants.access.rights import Area
from tenants.deletion.asking import is_asked, refuse_new_rows
from tenants.keys import api_tokens, fingerprints, peppers
from tenants.members.accounts import create_account
from tenants.members.members import put_role, refuse
from tenants.members.roles import Role
from tenants.models import INVITED_FOR, Invitation, Membership, Tenant
from tenants.sign_in import entrances

# Sent by the page on which somebody came with a link that opens nothing: it counts as a wrong password.
invitation_refused = Signal()
LONGEST = timedelta(days=30)
MAX_OPEN = 100  # of a tenant: nobody is to write to the whole world by us
_TOKEN = re.compile(r"tg_inv_[0-9A-Za-z]{32}\Z")


class InvitationInvalid(ValidationError):
    """The link opens nothing. It is not said why, so that nobody learns which links there were."""

    def __init__(self) -> None:
        super().__init__(
            "This invitation is not valid: it was used, withdrawn, or has expired, or its address is "
            "incomplete. Ask whoever invited you for a new one."
        )


class AlreadyMember(ValidationError):
    """The person works in that tenant already; the invitation stays open for somebody else."""

    def __init__(self, tenant: Tenant) -> None:
        super().__init__(f"You are a member of {tenant} already. The invitation was not used.")


@transaction.atomic
def invite(
    who: Access,
    tenant: Tenant,
    role: Role,
    *,
    created_by: AbstractBaseUser | None,
    email: str = "",
    valid_for: timedelta = INVITED_FOR,
) -> tuple[Invitation, Secret]:
    """Make an invitation and its token, which is not kept. Without `created_by` a command made it, or an API
    token that a command made.
    """
    invitation = Invitation(tenant=tenant, email=email)
    put_role(invitation, role)
    return invitation, issue(who, invitation, created_by=created_by, valid_for=valid_for)


@transaction.atomic
def issue(
    who: Access,
    invitation: Invitation,
    *,
    created_by: AbstractBaseUser | None,
    valid_for: timedelta = INVITED_FOR,
) -> Secret:
    """Store an invitation with a new token; the one before opens nothing. Return the token."""
    refuse(who, "add", invitation)
    refuse_new_rows(invitation.tenant_id)
    if not timedelta(0) < valid_for <= LONGEST:
        message = f"An invitation is valid for at most {LONGEST.days} days, and more than none."
        raise ValidationError({"valid_for": message})
    _refuse_too_many(invitation)
    fingerprints.confirm(fingerprints.PEPPER, peppers.keyring())
    token = Secret(f"tg_inv_{ids.base62(32)}")
    invitation.digest = peppers.digest(token)
    invitation.pepper_id = peppers.keyring().current[0]
    invitation.expires_at = clock.now() + valid_for
    invitation.created_by = created_by  # type: ignore[assignment]  # any user model
    acting = actor.current()
    invitation.made_by = acting.id if acting.kind == "token" else ""
    invitation.by_command = created_by is None and not invitation.made_by
    invitation.full_clean()
    invitation.save()
    return token


@transaction.atomic
def resend(
    who: Access, invitation: Invitation, *, created_by: AbstractBaseUser | None
) -> tuple[Invitation, Secret]:
    """Give an open or expired invitation a new link and seven more days; the old link opens nothing."""
    stored = Invitation.objects.select_for_update(of=("self",)).get(pk=invitation.pk)
    if stored.state not in {Invitation.State.OPEN, Invitation.State.EXPIRED}:
        raise ValidationError(
            f"The invitation {stored} is {stored.state.label.lower()}; make a new one."
        )
    return stored, issue(who, stored, created_by=created_by)


@transaction.atomic
def revoke(who: Access, invitation: Invitation) -> None:
    """End an invitation that was not used; twice is as good as once."""
    refuse(who, "delete", invitation)
    rows = Invitation.objects.select_for_update().filter(used_at=None, revoked_at=None)
    if (stored := rows.filter(pk=invitation.pk).first()) is not None:
        stored.revoked_at = clock.now()
        stored.save(update_fields=["revoked_at"])


def find(token: Secret) -> Invitation:
    """Return the invitation that this token opens now. Raise InvitationInvalid."""
    text = token.reveal()
    if not _TOKEN.match(text):
        raise InvitationInvalid
    rows = Invitation.open_ones().select_related("tenant", "custom_role", "created_by")
    found = rows.filter(digest__in=list(peppers.digests(token))).first()
    if found is None or not _can_be_given(found):
        raise InvitationInvalid
    return found


@transaction.atomic
def accept_invitation(token: Secret, user: User) -> Membership:
    """Make somebody a member by their invitation. Raise InvitationInvalid or AlreadyMember."""
    invitation = find(token)
    # Of all who come at the same time, the first holds the row, and the others then find it used.
    rows = Invitation.open_ones().select_for_update()
    claimed = rows.filter(pk=invitation.pk, digest=invitation.digest).first()
    if claimed is None:
        raise InvitationInvalid
    claimed.used_at, claimed.used_by = clock.now(), user
    claimed.save(update_fields=["used_at", "used_by"])
    member = Membership(tenant=invitation.tenant, user=user)
    member.role, member.custom_role = invitation.role, invitation.custom_role
    try:
        with transaction.atomic():
            member.save()
    except IntegrityError as error:
        raise AlreadyMember(invitation.tenant) from error
    return member


@transaction.atomic
def sign_up(token: Secret, username: str, password: Secret) -> User:
    """Make an account for somebody who was invited, and the membership with it."""
    invitation = find(token)
    user = create_account(username, password, invitation.email)
    accept_invitation(token, user)
    return user


def _can_be_given(invitation: Invitation) -> bool:
    """Tell whether whoever made it could give this role away at this moment."""
    if is_asked(invitation.tenant_id):
        return False
    who = _rights_behind(invitation)
    may_add = who.may("add", Area.MEMBERS, invitation.tenant_id)
    return may_add and who.may_grant(invitation.permissions, invitation.tenant_id)


def _rights_behind(invitation: Invitation) -> Access:
    """Return what whoever made it may do now: a token, a command, or a person in the best session that is
    open to them.
    """
    if invitation.made_by:
        return api_tokens.access_of_token(invitation.made_by)
    if invitation.by_command:
        return OPERATOR
    if invitation.created_by is None:
        return NOBODY
    who = access_of(invitation.created_by)
    if entrances.is_open(invitation.created_by.pk, invitation.tenant):
        return who
    return replace(who, grants={})


def _refuse_too_many(invitation: Invitation) -> None:
    others = Invitation.open_ones().filter(tenant=invitation.tenant_id).exclude(pk=invitation.pk)
    if others.count() >= MAX_OPEN:
        raise ValidationError(
            f"{invitation.tenant} has {MAX_OPEN} open invitations; revoke some first."
        )
