"""Add people to a tenant, change their role, and remove them. Nobody deals in more rights than their own.

A tenant keeps at least one owner who can sign in (`keep_an_owner` of the model). Operators may take the
last one away with `force`: a tenant without owners is theirs to look after.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.db import transaction

from tenants.access.access import Access
from tenants.access.rights import Area, Right
from tenants.deletion.asking import refuse_new_rows
from tenants.members.roles import Role, refuse_grant
from tenants.models import CustomRole, Membership, RoleHolder, Tenant, without_owners


def add_member(who: Access, tenant: Tenant, user: AbstractBaseUser, role: Role) -> Membership:
    """Make a person a member. Raise ValidationError if they are one."""
    member = Membership(tenant=tenant, user=user)  # type: ignore[misc]  # any user model
    put_role(member, role)
    refuse(who, "add", member)
    refuse_new_rows(tenant.pk)
    member.full_clean()
    member.save()
    return member


@transaction.atomic
def set_role(who: Access, member: Membership, role: Role, *, force: bool = False) -> Membership:
    """Give a member another role. Neither the old nor the new one may give more than they have."""
    stored = Membership.objects.select_for_update(of=("self",)).get(pk=member.pk)
    refuse(who, "change", stored)
    put_role(stored, role)
    refuse(who, "change", stored)
    stored.full_clean()
    with _forced(who, force):
        stored.save()
    return stored


@transaction.atomic
def remove_member(who: Access, member: Membership, *, force: bool = False) -> None:
    """End a membership; the account stays."""
    stored = Membership.objects.select_for_update(of=("self",)).get(pk=member.pk)
    refuse(who, "delete", stored)
    with _forced(who, force):
        stored.delete()


def refuse(who: Access, right: Right, holder: RoleHolder) -> None:
    """Raise PermissionDenied unless they may do this to a member, or an invitation, of this role."""
    if not who.may(right, Area.MEMBERS, holder.tenant_id):
        raise PermissionDenied
    refuse_grant(who, holder.custom_role or holder.role, holder.tenant_id)


def put_role(holder: RoleHolder, role: Role) -> None:
    """Put a role into the two columns that hold one."""
    is_own = isinstance(role, CustomRole)
    holder.role, holder.custom_role = ("", role) if is_own else (str(role), None)


@contextmanager
def _forced(who: Access, force: bool) -> Iterator[None]:
    if not force:
        yield
        return
    if not who.is_operator:
        raise PermissionDenied
    with without_owners():
        yield
