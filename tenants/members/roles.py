"""Make, change and delete a tenant's own roles, and find a role by the name people type."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction

from tenants.access.access import Access
from tenants.access.rights import ROLES, Area, Right, permissions_of, read_names
from tenants.deletion.asking import refuse_new_rows
from tenants.models import CustomRole, Invitation, Membership, Tenant

Role = str | CustomRole  # a built-in role by its name, or one of the tenant's own


def find_role(tenant: Tenant, name: str) -> Role:
    """Return the built-in role of this name, else the tenant's own. Raise ValidationError."""
    if name in ROLES:
        return name
    own = CustomRole.objects.filter(tenant=tenant.pk)
    if (found := own.filter(name=name).first()) is not None:
        return found
    known = ", ".join([*ROLES, *own.values_list("name", flat=True)[:50]])
    raise ValidationError({"role": f"There is no role {name!r} in {tenant}. It has: {known}."})


def refuse_grant(who: Access, role: Role, tenant_id: int) -> None:
    """Raise PermissionDenied unless they hold all that the role gives, in that tenant, themselves."""
    given = role.gives if isinstance(role, CustomRole) else permissions_of(role)
    if not who.may_grant(given, tenant_id):
        raise PermissionDenied


def create_role(
    who: Access,
    tenant: Tenant,
    name: str,
    permissions: Sequence[str],
    *,
    created_by: AbstractBaseUser | None = None,
) -> CustomRole:
    """Make a role of permissions that its maker has."""
    role = CustomRole(
        tenant=tenant,
        name=name,
        permissions=list(permissions),
        created_by=created_by,  # type: ignore[misc]  # any user model
    )
    _check(who, "add", role)
    refuse_new_rows(tenant.pk)
    role.save()
    return role


@transaction.atomic
def change_role(
    who: Access,
    role: CustomRole,
    *,
    name: str | None = None,
    permissions: Sequence[str] | None = None,
) -> CustomRole:
    """Rename a role or change what it gives; neither before nor after may that be more than they have."""
    stored = CustomRole.objects.select_for_update().get(pk=role.pk)
    refuse_grant(who, stored, stored.tenant_id)
    stored.name = stored.name if name is None else name
    stored.permissions = stored.permissions if permissions is None else list(permissions)
    _check(who, "change", stored)
    stored.save()
    return stored


@transaction.atomic
def delete_role(who: Access, role: CustomRole) -> None:
    """Delete a role that nobody has and nobody is offered. Raise ValidationError that says who."""
    if not who.may("delete", Area.ROLES, role.tenant_id):
        raise PermissionDenied
    refuse_grant(who, role, role.tenant_id)
    CustomRole.objects.select_for_update().filter(
        pk=role.pk
    ).first()  # nobody is given it meanwhile
    check_unused(role)
    role.delete()


def check_unused(role: CustomRole) -> None:
    """Raise ValidationError that names those who have the role or are offered it."""
    members = Membership.objects.filter(custom_role=role.pk).select_related("user")
    names = [member.user.get_username() for member in members[:20]]
    offered = Invitation.open_ones().filter(custom_role=role.pk).count()
    if offered:
        names.append("1 open invitation" if offered == 1 else f"{offered} open invitations")
    if names:
        raise ValidationError(
            f"The role {role.name!r} is in use by {', '.join(names)}. Give them another role first."
        )


def _check(who: Access, right: Right, role: CustomRole) -> None:
    if not who.may(right, Area.ROLES, role.tenant_id):
        raise PermissionDenied
    role.full_clean()
    if not who.may_grant(read_names(role.permissions), role.tenant_id):
        raise PermissionDenied
