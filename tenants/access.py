"""What a person who signed in to the console may do, and in which tenants.

Operators of the platform are superusers and may do everything. Everybody else gets their rights from
their memberships alone; Django's model permissions count for nothing, so that none can be left over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from tenants.models import Membership

Role = Membership.Role
Right = Literal["view", "add", "change", "delete"]


class Area(StrEnum):
    """What rights are given for."""

    TENANT = "tenant"
    MEMBERS = "members"
    KEYS = "keys"
    ALIASES = "aliases"
    PROVIDERS = "providers"
    CREDENTIALS = "credentials"
    WEBHOOKS = "webhooks"
    RESPONSES = "responses"
    LIMITS = (
        "limits"  # rate limits and budgets; those of a whole tenant are the operators' to change
    )
    PRICES = "prices"
    USAGE = "usage"
    BILLING = "billing"


_VIEW: frozenset[Right] = frozenset({"view"})
_CHANGE: frozenset[Right] = frozenset({"view", "change"})
_MANAGE: frozenset[Right] = frozenset({"view", "add", "change", "delete"})
_REMOVE: frozenset[Right] = frozenset({"view", "delete"})

_ADMIN: Mapping[Area, frozenset[Right]] = {
    Area.TENANT: _CHANGE,  # only operators make and remove tenants
    Area.MEMBERS: _MANAGE,
    Area.KEYS: _MANAGE,
    Area.ALIASES: _MANAGE,
    Area.PROVIDERS: _MANAGE,
    Area.CREDENTIALS: _MANAGE,
    Area.WEBHOOKS: _MANAGE,
    Area.RESPONSES: _REMOVE,
    Area.LIMITS: _MANAGE,
    Area.PRICES: _VIEW,
    Area.USAGE: _VIEW,
    Area.BILLING: _VIEW,
}
_READER: Mapping[Area, frozenset[Right]] = dict.fromkeys(Area, _VIEW)

RIGHTS: Mapping[str, Mapping[Area, frozenset[Right]]] = {
    Role.OWNER: _ADMIN,
    Role.ADMIN: _ADMIN,
    Role.DEVELOPER: {
        **_READER,
        Area.KEYS: _MANAGE,
        Area.ALIASES: _MANAGE,
        Area.WEBHOOKS: _MANAGE,
    },
    Role.BILLING: {
        **_READER,
        Area.RESPONSES: frozenset(),  # what was said is no matter of money
        Area.LIMITS: _MANAGE,
    },
    Role.VIEWER: _READER,
}

# The highest first. Nobody grants, changes or takes away a role above their own.
RANKING: tuple[str, ...] = (Role.OWNER, Role.ADMIN, Role.DEVELOPER, Role.BILLING, Role.VIEWER)


@dataclass(frozen=True, slots=True)
class Access:
    """A person's roles, as they were when the request came in."""

    is_operator: bool
    roles: Mapping[int, str]

    @property
    def tenants(self) -> frozenset[int]:
        return frozenset(self.roles)

    def may(self, right: Right, area: Area, tenant_id: int | None) -> bool:
        """Whether they may do this to a row of the tenant; None stands for the platform."""
        if self.is_operator:
            return True
        return tenant_id is not None and right in _rights(self.roles.get(tenant_id), area)

    def may_somewhere(self, right: Right, area: Area) -> bool:
        return self.is_operator or bool(self.tenants_where(right, area))

    def tenants_where(self, right: Right, area: Area) -> frozenset[int]:
        """The tenants in which a membership gives them this right."""
        return frozenset(t for t, role in self.roles.items() if right in _rights(role, area))

    def may_grant(self, role: str, tenant_id: int | None) -> bool:
        """Whether `role` is no higher than their own in that tenant."""
        if self.is_operator:
            return True
        own = self.roles.get(tenant_id) if tenant_id is not None else None
        return own is not None and RANKING.index(role) >= RANKING.index(own)


NOBODY = Access(is_operator=False, roles={})


def access_of(user: AbstractBaseUser | AnonymousUser) -> Access:
    """One query, none for operators and strangers."""
    if not (user.is_active and getattr(user, "is_staff", False)):
        return NOBODY
    if getattr(user, "is_superuser", False):
        return Access(is_operator=True, roles={})
    roles = Membership.objects.filter(user=user.pk).values_list("tenant_id", "role")
    return Access(is_operator=False, roles=dict(roles))


def _rights(role: str | None, area: Area) -> frozenset[Right]:
    return RIGHTS[role][area] if role is not None else frozenset()
