"""State the rules for a tenant's people: members, roles of its own, and invitations.

All is written by tenants/members, as from pages and commands.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import Model

from gateway_project.lib import durations
from gateway_project.lib.commands import parse_field
from gateway_project.lib.secret import Secret
from tenants.access.access import Access
from tenants.access.rights import Area, Right, read_names
from tenants.managed.resource import Resource, Values, register
from tenants.managed.tokens import maker_id
from tenants.members import invitations, members, roles
from tenants.models import INVITED_FOR, CustomRole, Invitation, Membership, RoleHolder


class HolderResource(Resource):
    """Rows that have a role. Nobody gives, changes or takes away one above their own."""

    area = Area.MEMBERS

    def may(self, who: Access, right: Right, row: Model | None) -> bool:
        if not super().may(who, right, row):
            return False
        if right == "view" or not isinstance(row, RoleHolder):
            return True
        return who.may_grant(row.permissions, row.tenant_id)


class MembershipResource(HolderResource):
    """Memberships. A tenant keeps an owner."""

    model = Membership
    named_by = ("user__username",)
    fields = ("tenant", "user", "role", "custom_role")
    fixed = ("tenant", "user")

    def insert(self, who: Access, row: Membership, extra: Values) -> None:
        made = members.add_member(who, row.tenant, row.user, row.custom_role or row.role)
        _stored_as(row, made)

    def update(self, who: Access, row: Membership, changed: list[str]) -> None:
        members.set_role(who, row, row.custom_role or row.role)

    def remove(self, who: Access, row: Membership) -> None:
        members.remove_member(who, row)


class InvitationResource(HolderResource):
    """Invitations, whose token is returned once. They are sent again and revoked in tenants/members."""

    model = Invitation
    rights = frozenset({"view", "add"})
    fields = ("tenant", "email", "role", "custom_role")
    extra = ("valid_for",)

    def prepare(
        self, who: Access, row: Invitation, extra: Values, *, is_new: bool
    ) -> Secret | None:
        _lifetime(extra)
        return None

    def validate(self, row: Invitation) -> None:
        """Check what was given; the rest is not there before it is issued."""
        others = {field.name for field in row._meta.concrete_fields} - set(self.fields)
        row.clean_fields(exclude=others)
        row.clean()

    def insert(self, who: Access, row: Invitation, extra: Values) -> Secret:
        made, token = invitations.invite(
            who,
            row.tenant,
            row.custom_role or row.role,
            created_by=maker(),
            email=row.email,
            valid_for=_lifetime(extra),
        )
        _stored_as(row, made)
        return token


class CustomRoleResource(Resource):
    """A tenant's own roles. Nobody makes, changes or deletes one that gives more than they have."""

    model = CustomRole
    named_by = ("name",)
    area = Area.ROLES
    fields = ("tenant", "name", "permissions")

    def may(self, who: Access, right: Right, row: Model | None) -> bool:
        if not super().may(who, right, row):
            return False
        if right == "view" or not isinstance(row, CustomRole):
            return True
        return who.may_grant(read_names(row.permissions), row.tenant_id)

    def insert(self, who: Access, row: CustomRole, extra: Values) -> None:
        made = roles.create_role(who, row.tenant, row.name, row.permissions, created_by=maker())
        _stored_as(row, made)

    def update(self, who: Access, row: CustomRole, changed: list[str]) -> None:
        roles.change_role(who, row, name=row.name, permissions=row.permissions)

    def check_removal(self, row: CustomRole) -> None:
        try:
            roles.check_unused(row)
        except ValidationError as error:
            raise ValidationError(" ".join(error.messages), code="conflict") from error

    def remove(self, who: Access, row: CustomRole) -> None:
        roles.delete_role(who, row)


def with_one_role(values: Values) -> Values:
    """Return the values with the other of the two columns of a role emptied, if only one is named."""
    if values.get("custom_role") is not None:
        return {"role": "", **values}
    if values.get("role"):
        return {"custom_role": None, **values}
    return values


def maker() -> User | None:
    """Return the person by whose rights something is made now; None on the command line."""
    found = maker_id()
    return None if found is None else User.objects.get(pk=found)


def _lifetime(extra: Values) -> timedelta:
    given: Any = extra.get("valid_for")
    if given is None:
        return INVITED_FOR
    if not isinstance(given, str):
        raise ValidationError({"valid_for": "Write a text, such as 7d."})
    return parse_field("valid_for", durations.parse, given)


def _stored_as(row: Model, made: Model) -> None:
    """Let a row stand for the one that was stored of it."""
    row.pk, row._state.adding = made.pk, False


MEMBERSHIPS = register(MembershipResource())
INVITATIONS = register(InvitationResource())
ROLES = register(CustomRoleResource())
